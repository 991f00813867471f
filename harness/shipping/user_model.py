"""A user model to a bundle: exported in a child, validated, and shipped only if it conforms."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core import environment, selectors
from harness.core.errors import UsageError, unknown
from harness.core.results import CellResult, Report, Status
from harness.core.schema import Progress
from harness.core.temporary import temporary_folder
from harness.exporters import EXPORTERS
from harness.exporters.variants import VARIANTS
from harness.exporting import bundle
from harness.exporting.key import installed_versions
from harness.goldens import store
from harness.recording import user_model, weights
from harness.recording.settings import ExportSettings
from harness.reports import json_file, model_card, page
from harness.runtimes import RUNTIMES
from harness.shipping import reference_model
from harness.shipping.request import Request, make
from harness.validation import pipeline
from harness.validation.selection import Selection


def ship(
    request: Request,
    done: Callable[[CellResult], None],
    progress: Progress = lambda text: None,
    note: Progress = lambda text: None,
) -> tuple[Report, bool]:
    """Export and validate a model and, if it conforms, write its bundle to the output folder.

    Where it does not conform, that folder has the report, the golden and ``rejected.onnx``.
    UsageError, with nothing written, where the model cannot be read, described, run or exported;
    UnavailableError, likewise, where a runtime that is named is not available here.
    ``note`` gets a line for each case that was asked for and cannot be compared.
    """
    reference_model.check_usable(request.output)
    selection = Selection(
        runtimes=request.runtimes, require=selectors.exact(request.runtimes, RUNTIMES)
    )
    pipeline.selected_runtimes(selection)
    for kind, name, choices in (
        ("exporter", request.exporter, [key.rpartition("/")[0] for key in EXPORTERS]),
        ("variant", request.variant, VARIANTS),
    ):
        if name not in choices:
            raise unknown(kind, name, set(choices))
    with temporary_folder() as folder:
        proved = _proved(request, selection, folder / "1", progress, done)
        proved = _by_another_way(request, selection, folder, proved, progress, done)
        return _finished(request, proved, note)


@dataclass(frozen=True)
class _Proved:
    """A model that was exported to a folder and validated: with ``held``, not yet shown."""

    folder: Path
    about: dict[str, Any]
    stored: store.Golden
    manifest: dict[str, Any]
    account: str | None
    report: Report
    held: Sequence[CellResult]

    @property
    def unavailable(self) -> bool:
        return all(result.status is Status.UNAVAILABLE for result in self.report.results)


def _proved(
    request: Request,
    selection: Selection,
    folder: Path,
    progress: Progress,
    done: Callable[[CellResult], None],
    ways: Sequence[str] | None = None,
) -> _Proved:
    """Export a model to a folder, where natively not by one of ``ways`` or any, and judge it.

    What another way made instead of the native one is not shown yet, since others may follow.
    """
    folder.mkdir()
    settings = make(request, folder, progress, ways)
    about = json.loads((folder / user_model.ABOUT).read_text())
    if failure := about.get("failure"):
        raise UsageError(f"{settings.text} cannot be exported: {failure['reason']}")
    stored = store.read(folder / user_model.STORED)
    manifest = {
        "model": stored.spec.name,
        "framework": stored.framework,
        "exporter": about["exporter"],
        **_way(about),
        "variant": settings.variant,
        "opset": about["opset"],
        "subject": settings.text,
        "axes": {t.name: list(t.axes) for t in (*stored.spec.inputs, *stored.spec.outputs)},
        "refused": about["refused"],
        "key": _key(stored, settings),
        "example": about["example"],
        "rounded": about["rounded"],
    }
    candidate = folder / "candidate"
    account = weights.stored(folder)
    model = (folder / user_model.MODEL).read_bytes()
    bundle.write(candidate, model, manifest, folder / user_model.STORED, account=account)
    prepared = pipeline.prepare(replace(selection, subjects=[str(candidate)]), progress)
    place = request.output
    rejected = (str(place / bundle.REJECTED), "--golden", str(place / bundle.GOLDEN))
    prepared.jobs = [
        replace(job, replay=_replay(job.cell.runtime, *rejected)) for job in prepared.jobs
    ]
    step = pipeline.counted(prepared, progress, "validating")
    held: list[CellResult] = []
    shown = held.append if "instead" in about else done
    report = pipeline.judge(prepared, "harness.export", shown, step)
    report = _with_evidence(report, {"decisions": about["decisions"]})
    return _Proved(folder, about, stored, manifest, account, report, held)


def _by_another_way(
    request: Request,
    selection: Selection,
    folder: Path,
    first: _Proved,
    progress: Progress,
    done: Callable[[CellResult], None],
) -> _Proved:
    """Return what the next ways make, where one stood in and its model is rejected.

    It is ``first`` where that conforms, or none of the others does.
    """
    proved, number = first, 1
    while (left := proved.about.get("untried")) and not _ends(proved):
        wrong = next(r.reason for r in proved.report.results if r.status is not Status.PASS)
        rejected = f"{proved.about['instead']}; {proved.about['way']}: rejected: {wrong}"
        number += 1
        try:
            place = folder / f"{number}"
            proved = _proved(request, selection, place, progress, done, left)
        except UsageError:
            break
        proved.manifest["instead"] = proved.about["instead"] = rejected
    shown = proved if proved.report.conforms else first
    for result in shown.held:
        done(result)
    return shown


def _ends(proved: _Proved) -> bool:
    return proved.report.conforms or proved.unavailable


def _finished(request: Request, proved: _Proved, note: Progress) -> tuple[Report, bool]:
    """Write the bundle of a model that conforms, or why it does not, and return the report."""
    about, report, account, place = proved.about, proved.report, proved.account, request.output
    if why := about.get("instead"):
        note(f"exported by {about['way']} instead of {request.exporter}: {why}")
    for line in about["refused"]:
        note(f"not compared: {line}")
    for line in model_card.decided(about)[1:]:
        note(f"a decision: {line}")
    if proved.unavailable:
        return report, False
    model, golden = (
        (proved.folder / user_model.MODEL).read_bytes(),
        proved.folder / user_model.STORED,
    )
    if not report.conforms:
        dated = replace(report, environment={**report.environment, "date": environment.now()})
        texts = json_file.dumps(dated), page.dumps(dated)
        bundle.reject(place, model, golden, *texts, account)
        return report, False
    results = [replace(r, replay=_replay(r.cell.runtime, str(place))) for r in report.results]
    report = replace(report, results=tuple(results))
    manifest = {
        **proved.manifest,
        "validated": reference_model.proof(report),
        "tolerance": model_card.tolerances(report),
    }
    text = model_card.text(proved.stored, manifest, report)
    bundle.write(place, model, manifest, golden, text, account)
    return report, True


def _way(about: dict[str, Any]) -> dict[str, str]:
    """Return what a manifest says of a way that was taken instead of the one asked for."""
    if "instead" not in about:
        return {}
    kept = about["way"] != about["exporter"]
    return {"instead": about["instead"], **({"recurrent_nodes": "native"} if kept else {})}


def _with_evidence(report: Report, about: dict[str, Any]) -> Report:
    """Return the report whose cells also say what was found as the model was recorded."""
    results = (replace(r, evidence={**r.evidence, **about}) for r in report.results)
    return replace(report, results=tuple(results))


def _replay(runtime: str, *words: str) -> str:
    return shlex.join(["python", "-m", "harness.validate", *words, "--runtime", runtime])


def _key(stored: store.Golden, settings: ExportSettings) -> dict[str, Any]:
    """Return what the export depends on; for a user model its text stands for its code."""
    return {
        "weights": stored.weights_sha256,
        "opset": settings.opset,
        "code": hashlib.sha256(settings.text.encode()).hexdigest(),
        "versions": installed_versions(stored.framework),
    }
