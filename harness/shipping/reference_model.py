"""A reference model to a bundle, which is written only if it conforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core import selectors
from harness.core.errors import UsageError
from harness.core.files import check_writable
from harness.core.results import CellResult, Report
from harness.core.schema import Progress, Stage
from harness.core.temporary import temporary_folder
from harness.exporting import bundle
from harness.goldens import every_step as projections
from harness.reports import model_card
from harness.runtimes import RUNTIMES
from harness.validation import pipeline, weights
from harness.validation.job import Failed, Ready
from harness.validation.selection import Selection
from reference_models import catalog, every_step


def ship(
    selection: Selection,
    folder: Path,
    done: Callable[[CellResult], None],
    progress: Progress = lambda text: None,
) -> tuple[Report, bool]:
    """Validate the selection's one model; write its bundle to ``folder`` only if it conforms.

    Where it does not, a bundle that an earlier export left in ``folder`` loses its model too.
    UsageError where it cannot be exported at all, where the selection is more than one model, or
    where ``folder`` holds something else; UnavailableError where a runtime that is named is not
    available here.
    """
    check_usable(folder)
    models = selectors.names("model", selection.subjects, catalog.MODELS)
    if len(models) != 1:
        raise UsageError(
            f"one model can be exported at a time; the selection has: {', '.join(models)}"
        )
    required = selectors.exact(selection.runtimes, RUNTIMES)
    prepared = pipeline.prepare(replace(selection, require=required, every_step=True), progress)
    exports = {bundle.folder(selection.artifacts, job.cell) for job in prepared.jobs}
    if len(exports) != 1:
        names = sorted(str(path.relative_to(selection.artifacts)) for path in exports)
        raise UsageError(f"one export makes a bundle; the selection has: {', '.join(names)}")
    job = prepared.jobs[0]
    if isinstance(job, Failed) and job.failure.stage is Stage.EXPORT:
        (folder / bundle.MODEL).unlink(missing_ok=True)
        raise UsageError(f"{job.cell.model}/{job.cell.framework}: {job.failure}")
    step = pipeline.counted(prepared, progress, "validating")
    report = pipeline.judge(prepared, "harness.export", done, step)
    if not report.conforms or not isinstance(job, Ready) or job.model is None:
        (folder / bundle.MODEL).unlink(missing_ok=True)
        return report, False
    stored = bundle.read(job.model.parent)
    about = {name: value for name, value in stored.manifest.items() if name != "sha256"}
    about |= {"validated": proof(report), "tolerance": model_card.tolerances(report)}
    about["subject"] = f"{job.cell.model}, a reference model"
    text = model_card.text(job.golden, about, report)
    account = weights.account(job.model, job)
    stated = None if account is None else account.json()
    with temporary_folder() as temporary:
        golden = job.golden.folder
        if complete := every_step.of(job.golden):
            golden = temporary / bundle.GOLDEN
            projections.write(job.golden, complete, golden)
        bundle.write(folder, job.model.read_bytes(), about, golden, text, stated)
    return report, True


def check_usable(folder: Path) -> None:
    """Raise UsageError where a bundle cannot be put in ``folder``."""
    if folder.exists() and (not folder.is_dir() or bundle.is_foreign(folder)):
        raise UsageError(f"{folder} exists and is not a bundle; give a new folder")
    check_writable(folder)


def proof(report: Report) -> dict[str, Any]:
    """Return what a manifest says of the validation."""
    return {
        "comparisons": report.comparisons,
        "environment": dict(report.environment),
        "evidence": {r.cell.runtime: dict(r.evidence) for r in report.results},
    }
