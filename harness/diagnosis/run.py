"""From a selection to its diagnoses: cells, good graphs to compare with, folders."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from harness.core.errors import CheckError, HarnessError, UsageError
from harness.core.files import check_writable
from harness.core.results import CellResult, Status
from harness.core.schema import Progress
from harness.diagnosis import examine, report, reproduction
from harness.diagnosis.diagnosis import Diagnosis
from harness.goldens import store
from harness.graphs import interface
from harness.processes.limits import IN_FLOAT64, OF_A_FILE
from harness.processes.worker import LostError, call_in_child
from harness.runtimes import load
from harness.runtimes.guard import GuardedRuntime
from harness.runtimes.settings import Settings
from harness.validation import from_catalog, pipeline
from harness.validation.isolation import workers
from harness.validation.isolation.workers import Isolation
from harness.validation.job import Job, JudgedRuntime, Ready
from harness.validation.selection import Selection
from reference_models import catalog

FOLDER = Path("build/diagnosis")


def diagnose(
    selection: Selection,
    against: Path | None,
    output: Path | None,
    command: str,
    progress: Progress,
) -> list[tuple[Diagnosis, Path | None]]:
    """Examine every cell of a selection; those that fail get a folder each.

    ``against`` is a good graph of the same model, ``output`` the folder of the one cell. UsageError
    for a runtime that runs no graph, or one folder for several cells.
    """
    if output is not None:
        _check_usable(output)
    prepared = pipeline.prepare(selection, progress)
    cells = [job.cell for job in prepared.jobs]
    if len(cells) > 1 and (output or against):
        flag = "-o" if output else "--against"
        raise UsageError(
            f"{flag} is for one cell; {len(cells)} are selected:"
            f" {', '.join(cell.id for cell in cells)} (-k, --framework and --runtime narrow it)"
        )
    if against is not None:
        _check_readable(against)
    diagnoses = []
    for job in prepared.jobs:
        if framework := job.runtime.framework:
            raise UsageError(f"--runtime {framework}: it runs no graph to look into")
        good = against or good_graph(job, selection, progress)
        progress(f"{job.cell.id}: every case")
        with closing(workers.run([job], Isolation(True), lambda job, event: None)) as judged:
            result = next(judged)
        diagnosis = _examined(job, good, progress, against is not None, result)
        folder = None
        if not diagnosis.passes:
            folder = output or FOLDER / job.cell.id.replace("/", "-")
            _write(diagnosis, folder, command, job.runtime, selection.settings)
        diagnoses.append((diagnosis, folder))
    return diagnoses


def _examined(
    job: Job, good: Path | None, progress: Progress, by_user: bool, result: CellResult
) -> Diagnosis:
    """Return the diagnosis of a cell; of a model that is not ours in a child, which may hang."""
    if job.ours:
        return examine.cell(job, good, progress, by_user, result)
    limits = OF_A_FILE if result.status is Status.ERROR else IN_FLOAT64
    try:
        found: Diagnosis = call_in_child(
            limits, _examine, job, good, by_user, result, heed=progress, forked=True
        )
    except LostError as lost:
        first = Diagnosis(job.cell, result.status, result.stage, result.reason, job.replay)
        return replace(first, why=f"the process that looked into it {lost}")
    return found


def _examine(
    emit: Progress, job: Job, good: Path | None, by_user: bool, result: CellResult
) -> Diagnosis:
    return examine.cell(job, good, emit, by_user, result)


def _check_readable(against: Path) -> None:
    """Raise UsageError where the file of a good graph is none."""
    if not against.is_file():
        raise UsageError(f"--against {against}: no such file; expected a .onnx file")
    try:
        model = interface.read(str(against))
    except CheckError as error:
        raise UsageError(f"--against: {error}") from None
    if not model.graph.output:
        raise UsageError(f"--against {against}: no graph with an output; expected a .onnx file")


def good_graph(job: Job, selection: Selection, progress: Progress) -> Path | None:
    """Return the native export of the same golden, exported now if it is not yet.

    None where that is the cell's own model, or the model is none of the catalog, has other weights
    there, or cannot be exported here.
    """
    name, framework = job.golden.spec.name, job.golden.framework
    if name not in catalog.MODELS or not isinstance(job, Ready) or job.model is None:
        return None
    native = Selection(
        subjects=[name],
        frameworks=[framework],
        golden=None if not job.ours else selection.golden,
        artifacts=selection.artifacts,
        opset=selection.opset,
    )
    try:
        folder = (native.golden or catalog.goldens(catalog.load(name))) / name / framework
        if store.read(folder).weights_sha256 != job.golden.weights_sha256:
            return None
        (good,) = from_catalog.exported([name], native, {"oracle": load("oracle")}, progress)
    except HarnessError:
        return None
    if not isinstance(good.model, Path) or good.model.read_bytes() == job.model.read_bytes():
        return None
    return good.model


def _check_usable(folder: Path) -> None:
    """Raise UsageError where a diagnosis cannot be put in ``folder``."""
    if folder.is_dir() and not (folder / reproduction.JSON).is_file() and any(folder.iterdir()):
        raise UsageError(f"-o {folder}: it holds something else than a diagnosis; name another")
    check_writable(folder)


def _write(
    diagnosis: Diagnosis, folder: Path, command: str, runtime: JudgedRuntime, settings: Settings
) -> None:
    environment = pipeline.machine()
    _check_usable(folder)
    texts = {
        reproduction.JSON: report.dumps(command, environment, [(diagnosis, folder)]) + "\n",
        reproduction.TEXT: report.markdown(diagnosis),
        reproduction.ISSUE: report.issue(diagnosis, environment, runtime.version()),
    }
    assert isinstance(runtime, GuardedRuntime)
    reproduction.write(folder, runtime.loader(settings), diagnosis.example, texts)
