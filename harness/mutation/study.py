"""Every defect planted in every cell of a selection, each cell in a child process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from importlib import import_module
from threading import Event
from time import perf_counter

from harness.core import selectors
from harness.core.errors import (
    HarnessError,
    NothingSelectedError,
    StageError,
    UnavailableError,
    UsageError,
    one_line,
)
from harness.core.results import Cell, OutputComparison, Status
from harness.core.schema import Stage
from harness.mutation import peers
from harness.mutation.defects import FAMILIES
from harness.mutation.defects.defect import Defect, defects_of, name
from harness.mutation.trial import Court, Trial, Verdict
from harness.processes.limits import Limits
from harness.processes.worker import Heed, LostError, Worker
from harness.runtimes import load
from harness.validation import pipeline
from harness.validation.job import Failed, Ready, Unavailable
from harness.validation.selection import Selection

REFEREE = "oracle"
LIMITS = Limits(seconds=600.0)
"""For one mutant: one that takes longer hangs, and is caught by that."""


@dataclass(frozen=True)
class Honest:
    """The unchanged cell.

    ``ratio`` is its worst error ÷ tolerance. ``noise_bound`` is the number of noise floors from
    which noise on any one value of any output, whatever its sign, is caught: the largest of
    (tolerance + error) ÷ noise floor over outputs and cases. ``alarming`` are the peers whose rule
    refuses the unchanged model, and which therefore catch nothing.
    """

    ratio: float
    noise_bound: float
    alarming: tuple[str, ...]


@dataclass(frozen=True)
class CellStudy:
    """All trials of one cell."""

    cell: Cell
    trials: tuple[Trial, ...]
    honest: Honest
    seconds: float


def defects(patterns: Sequence[str] = ()) -> dict[str, Defect]:
    """Return every kind of defect by name, or those that names and globs select."""
    every = [defect for family in FAMILIES for defect in defects_of(import_module(family))]
    by_name = {name(defect): defect for defect in every}
    chosen = selectors.names("defect", patterns or [selectors.ALL], by_name)
    return {kind: by_name[kind] for kind in chosen}


def run(selection: Selection, kinds: Sequence[str], workers: int) -> Iterator[CellStudy]:
    """Study every cell that has a model, ``workers`` at a time; the first to end comes first.

    NothingSelectedError where one has no model or does not conform as it is, UnavailableError
    where one cannot be judged here.
    """
    prepared = pipeline.prepare(selection, lambda text: None)
    for job in prepared.jobs:
        if framework := job.runtime.framework:
            raise UsageError(f"--runtime {framework}: it runs no graph to plant defects in")
        if isinstance(job, Unavailable):
            raise UnavailableError(f"{job.cell.id}: {job.reason}")
        if isinstance(job, Failed):
            raise NothingSelectedError(f"{job.cell.id} has no model: {job.failure}")
        if not job.declared:
            raise UsageError(
                f"{job.cell.id}: these ONNX tests were made from no golden of ours, which planted"
                " defects need"
            )
    cells = [job.cell for job in prepared.jobs]
    if twice := [cell.id for cell in dict.fromkeys(cells) if cells.count(cell) > 1]:
        raise UsageError(f"{twice[0]} is asked for more than once; give one file for each cell")
    ending = Event()
    with ThreadPoolExecutor(workers) as pool:
        studies = [pool.submit(supervised, c, selection, kinds, ending) for c in cells]
        try:
            for done in as_completed(studies):
                yield done.result()
        except BaseException:
            ending.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def supervised(
    cell: Cell,
    selection: Selection,
    kinds: Sequence[str],
    ending: Event | None = None,
    limits: Limits = LIMITS,
    study: Callable[..., Honest] | None = None,
) -> CellStudy:
    """Study a cell in a child; a mutant that ends it is caught, and another child goes on.

    ``limits`` hold for each trial. HarnessError soon after ``ending`` is set.
    """
    started = perf_counter()
    selection = replace(selection, keyword=None, only={cell.id}, shard=None)
    trials: list[Trial] = []
    while True:
        worker = Worker(limits, ending=ending)
        pending: Trial | None = None

        def heed(event: tuple[bool, Trial], worker: Worker = worker) -> None:
            nonlocal pending
            done, trial = event
            pending = None if done else trial
            trials.extend([trial] if done else [])
            worker.renew()

        try:
            honest = worker.call(study or _study, cell, selection, kinds, list(trials), heed=heed)
            return CellStudy(cell, tuple(trials), honest, perf_counter() - started)
        except LostError as lost:
            if pending is None:
                problem = f"{cell.id}: the process that studies it {lost}"
                raise HarnessError(problem) from None
            trials.append(_died(pending, str(lost)))
        finally:
            worker.stop()


def _study(
    emit: Heed, cell: Cell, selection: Selection, kinds: Sequence[str], tried: Sequence[Trial]
) -> Honest:
    """Try every defect that was not ``tried``; emit each trial as it begins and as it ends.

    An error here, rather than in the runtime's native code, catches no mutant: it is raised.
    """
    try:
        prepared = pipeline.prepare(selection, lambda text: None)
        (job,) = (job for job in prepared.jobs if job.cell == cell)
        assert isinstance(job, Ready)
        try:
            court = Court(job, load(REFEREE))
            honest = court.honest()
        except StageError as error:
            raise NothingSelectedError(f"{cell.id} does not conform: {error}") from None
        if bad := [case for case in honest if case.status is not Status.PASS]:
            raise NothingSelectedError(f"{cell.id} does not conform: {bad[0].reason}")
        court.try_all(defects(kinds), tried, lambda done, trial: emit((done, trial)))
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"{cell.id} cannot be studied: {one_line(error)}") from error
    outputs = [output for case in honest for output in case.outputs]
    bound = max(_bound(output, job.runtime.row.k) for output in outputs)
    return Honest(max(output.ratio for output in outputs), bound, court.alarming)


def _died(trial: Trial, end: str) -> Trial:
    """Return the trial of a mutant that ended its process: everyone who ran it caught it.

    One that ended only the referee's was missed: it has a reason already, that every case passes.
    """
    if trial.reason:
        return replace(trial, reason=f"{trial.reason}; in exact arithmetic its process {end}")
    noticed = dict(trial.peers) or {peer.name: True for peer in peers.PEERS}
    reason = f"the runtime's process {end}"
    return replace(trial, verdict=Verdict.CAUGHT, stage=Stage.RUN, reason=reason, peers=noticed)


def _bound(output: OutputComparison, factor: float) -> float:
    """Return from how many noise floors on noise on any value of ``output`` is caught."""
    unit = output.tolerance / factor
    return (output.tolerance + output.max_abs) / unit if unit else 0.0
