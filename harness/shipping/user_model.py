"""A user model to a bundle: exported in a child, validated, and shipped only if it conforms."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core import selectors
from harness.core.errors import ExportError, UsageError, unknown
from harness.core.results import CellResult, Report, Status
from harness.core.schema import Progress
from harness.core.temporary import temporary_folder
from harness.exporters import DEFAULT_OPSET, EXPORTERS
from harness.exporters.variants import VARIANTS
from harness.exporting import bundle
from harness.exporting.key import installed_versions
from harness.goldens import store
from harness.recording import cases, in_child, user_model, weights
from harness.recording.loading import user_model as loaded
from harness.recording.settings import ExportSettings
from harness.reports import json_file, model_card
from harness.runtimes import RUNTIMES
from harness.shipping import reference_model
from harness.subjects import onnx_file
from harness.subjects.describe import description, file
from harness.subjects.description import ModelDescription
from harness.subjects.resolve import EXPORTABLE, Kind, Subject, resolve
from harness.validation import pipeline
from harness.validation.selection import Selection

MOST_LENGTHS = 1000


@dataclass(frozen=True)
class Request:
    """What a call asks for; ``subject`` is a text that names the model, or the live model."""

    subject: Any
    output: Path
    inputs: Any = None
    lengths: Sequence[str] = ()
    batch: Sequence[str] = ()
    exporter: str = "native"
    variant: str = "fp32"
    opset: int = DEFAULT_OPSET
    runtimes: Sequence[str] = ()
    weights: Path | None = None
    existing: Path | None = None
    outputs: Sequence[str] = ()
    name: str = ""
    timeout: float | None = None
    strict: bool = False


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
        settings = _make(request, folder, progress)
        about = json.loads((folder / user_model.ABOUT).read_text())
        if failure := about.get("failure"):
            raise UsageError(f"{settings.text} cannot be exported: {failure['reason']}")
        stored = store.read(folder / user_model.STORED)
        manifest = {
            "model": stored.spec.name,
            "framework": stored.framework,
            "exporter": about["exporter"],
            **({"instead": about["instead"]} if "instead" in about else {}),
            "variant": settings.variant,
            "opset": about["opset"],
            "subject": settings.text,
            "axes": {t.name: list(t.axes) for t in (*stored.spec.inputs, *stored.spec.outputs)},
            "refused": about["refused"],
            "key": _key(stored, settings),
            "example": about["example"],
            "rounded": about["rounded"],
        }
        model = (folder / user_model.MODEL).read_bytes()
        candidate = folder / "candidate"
        account = weights.stored(folder)
        bundle.write(candidate, model, manifest, folder / user_model.STORED, account=account)
        prepared = pipeline.prepare(replace(selection, subjects=[str(candidate)]), progress)
        place = request.output
        rejected = (str(place / bundle.REJECTED), "--golden", str(place / bundle.GOLDEN))
        prepared.jobs = [
            replace(job, replay=_replay(job.cell.runtime, *rejected)) for job in prepared.jobs
        ]
        step = pipeline.counted(prepared, progress, "validating")
        report = pipeline.judge(prepared, "harness.export", done, step)
        report = _with_evidence(report, {"decisions": about["decisions"]})
        if why := about.get("instead"):
            note(f"exported by {about['exporter']} instead of {settings.exporter}: {why}")
        for line in about["refused"]:
            note(f"not compared: {line}")
        for line in model_card.decided(about)[1:]:
            note(f"a decision: {line}")
        if all(result.status is Status.UNAVAILABLE for result in report.results):
            return report, False
        if not report.conforms:
            bundle.reject(
                place, model, folder / user_model.STORED, json_file.dumps(report), account
            )
            return report, False
        results = [replace(r, replay=_replay(r.cell.runtime, str(place))) for r in report.results]
        report = replace(report, results=tuple(results))
        manifest["validated"] = reference_model.proof(report)
        manifest["tolerance"] = model_card.tolerances(report)
        text = model_card.text(stored, manifest, report)
        bundle.write(place, model, manifest, folder / user_model.STORED, text, account)
        return report, True


def _with_evidence(report: Report, about: dict[str, Any]) -> Report:
    """Return the report whose cells also say what was found as the model was recorded."""
    results = (replace(r, evidence={**r.evidence, **about}) for r in report.results)
    return replace(report, results=tuple(results))


def _replay(runtime: str, *words: str) -> str:
    return shlex.join(["python", "-m", "harness.validate", *words, "--runtime", runtime])


def _make(request: Request, folder: Path, progress: Progress) -> ExportSettings:
    """Write the golden and the model to ``folder``: in a child, or here for a live model."""
    named = resolve(request.subject, EXPORTABLE) if isinstance(request.subject, str) else None
    described = _description(request, named)
    settings = ExportSettings(
        _name(request, described, named),
        named.text if named else f"a live {type(request.subject).__name__}",
        described,
        _numbers("--lengths", request.lengths or described.lengths, cases.LENGTHS),
        _numbers("--batch", request.batch or described.batch, cases.BATCHES),
        request.exporter,
        request.variant,
        request.opset,
        str(request.existing or ""),
        request.strict,
    )
    _check_files(request, named)
    if named is None:
        model = loaded(request.subject, settings.text, request.weights)
        user_model.make(model, settings, folder, progress)
        return settings
    try:
        order = in_child.Order(named, request.weights, settings, folder)
        in_child.make(order, progress, request.timeout)
    except ExportError as error:
        raise UsageError(str(error)) from None
    return settings


def _description(request: Request, named: Subject | None) -> ModelDescription:
    """Return the description in the call, else the one in the TOML file next to the model."""
    described = description(request.inputs)
    beside = named.description if named else None
    if not described.inputs and beside is not None and beside.is_file():
        described = file(beside)
    return replace(described, outputs=tuple(request.outputs) or described.outputs)


def _name(request: Request, described: ModelDescription, named: Subject | None) -> str:
    name = request.name or described.name
    if not name:
        return named.name if named else type(request.subject).__name__
    if not name.replace("-", "_").replace(".", "_").isidentifier():
        raise UsageError(f"name {name!r}: expected letters, digits, '_', '-' and '.'")
    return name


def _check_files(request: Request, named: Subject | None) -> None:
    """Raise UsageError where the weights or the file to judge are missing, or of no use here."""
    kind = None if named is None else named.kind
    if request.weights is not None:
        if not request.weights.exists():
            raise UsageError(f"{request.weights}: no such file; expected weights")
        if kind not in (None, Kind.FACTORY):
            raise UsageError(f"--weights is for FILE.py:factory; {request.subject} holds its own")
    if request.existing is not None:
        if kind is Kind.ONNX:
            reason = f"{request.subject} is judged as it is"
            raise UsageError(f"--onnx is for a model of Keras or PyTorch; {reason}")
        if not request.existing.is_file():
            raise UsageError(f"{request.existing}: no such file; expected a .onnx file to judge")
        onnx_file.read(request.existing)


def _numbers(flag: str, texts: Sequence[str], default: tuple[int, ...]) -> tuple[int, ...]:
    """Return the numbers that ``1,2,7..9`` names, or the default without any text."""
    if not texts:
        return default
    ranges = selectors.numbers(flag, [str(text) for text in texts], default).ranges
    if sum(high - low for low, high in ranges) >= MOST_LENGTHS:
        raise UsageError(f"{flag} names more than {MOST_LENGTHS} numbers; each one is run")
    return tuple(sorted({n for low, high in ranges for n in range(low, high + 1)})) or default


def _key(stored: store.Golden, settings: ExportSettings) -> dict[str, Any]:
    """Return what the export depends on; for a user model its text stands for its code."""
    return {
        "weights": stored.weights_sha256,
        "opset": settings.opset,
        "code": hashlib.sha256(settings.text.encode()).hexdigest(),
        "versions": installed_versions(stored.framework),
    }
