"""From a model that conforms to a bundle: nothing is shipped unproven."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from harness import bundle, golden, outcome, plan, validation
from harness.errors import CONFORMS, UsageError
from harness.schema import CellResult, Report, Stage
from harness.works import Selection
from reference_models import catalog


def ship(
    selection: Selection, folder: Path, done: Callable[[CellResult], None]
) -> tuple[Report, bool]:
    """Validate the selection's one model; write its bundle to ``folder`` only if it conforms.

    Where it does not, a bundle that an earlier export left in ``folder`` loses its model too.
    UsageError where it cannot be exported at all, where the selection is more than one model, or
    where ``folder`` holds something else.
    """
    if folder.exists() and (not folder.is_dir() or _foreign(folder)):
        raise UsageError(f"{folder} exists and is not a bundle; give a new folder")
    models = plan.names("model", selection.subjects, catalog.MODELS)
    if len(models) != 1:
        told = ", ".join(models)
        raise UsageError(f"one model can be exported at a time; the selection has: {told}")
    prepared = validation.prepare(selection, lambda text: None)
    exports = {bundle.folder(selection.artifacts, work.cell) for work in prepared.works}
    if len(exports) != 1:
        told = ", ".join(sorted(str(path.relative_to(selection.artifacts)) for path in exports))
        raise UsageError(f"one export makes a bundle; the selection has: {told}")
    work = prepared.works[0]
    if work.failure is not None and work.failure.stage is Stage.EXPORT:
        (folder / bundle.MODEL).unlink(missing_ok=True)
        raise UsageError(f"{work.cell.model}/{work.cell.framework}: {work.failure}")
    report = validation.judge(prepared, "harness.export", done, lambda work: None)
    conforms = outcome.exit_code(report) == CONFORMS and all(
        result.status == "pass" for result in report.results if result.status != "unavailable"
    )
    if not conforms or work.model is None:
        (folder / bundle.MODEL).unlink(missing_ok=True)
        return report, False
    stored = bundle.read(work.model.parent)
    about = {name: value for name, value in stored.manifest.items() if name != "sha256"}
    about["validated"] = {
        "comparisons": report.comparisons,
        "environment": dict(report.environment),
        "evidence": {r.cell.runtime: dict(r.evidence) for r in report.results},
    }
    bundle.write(folder, work.model.read_bytes(), about, work.golden.folder)
    return report, True


def _foreign(folder: Path) -> bool:
    """Whether a folder holds anything but a bundle: that is not ours to replace."""
    names = {entry.name for entry in folder.iterdir()}
    if names <= {bundle.MODEL}:
        return False
    inner = folder / bundle.GOLDEN
    inside = {entry.name for entry in inner.iterdir()} if inner.is_dir() else set()
    if inside - {golden.MANIFEST, golden.CASES} or names - bundle.NAMES:
        return True
    try:
        manifest = json.loads((folder / bundle.MANIFEST).read_text())
    except (OSError, ValueError):
        return True
    return not isinstance(manifest, dict) or manifest.get("schema") != bundle.SCHEMA
