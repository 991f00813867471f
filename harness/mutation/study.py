"""Every defect planted in every cell of a selection, each cell in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter
from typing import Any

from harness.core import selectors
from harness.core.errors import (
    HarnessError,
    NothingSelectedError,
    StageError,
    UnavailableError,
    UsageError,
    one_line,
)
from harness.core.schema import Cell, OutputComparison, Stage, Status, framework_of
from harness.core.tolerance import k
from harness.mutation import peers
from harness.mutation.defects import FAMILIES
from harness.mutation.defects.defect import Defect, name
from harness.mutation.trial import Court, Trial, Verdict
from harness.runtimes import guard, load
from harness.validation import pipeline
from harness.validation.selection import Selection

REFEREE = "oracle"
WAIT = 0.2
"""Seconds after which a study notices that it is to end."""


@dataclass(frozen=True)
class Honest:
    """The unchanged cell.

    ``ratio`` is its worst error ÷ tolerance. ``noise_bound`` is the number of noise floors from
    which noise on any one value of any output, whatever its sign, is caught: the largest of
    (tolerance + error) ÷ noise floor over outputs and cases. ``alarming`` are the peers whose rule
    refuses the unchanged model, and who therefore catch nothing.
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
    """Every kind of defect by name, or those that names and globs select."""
    every = [defect for family in FAMILIES for defect in import_module(family).DEFECTS]
    found = {name(defect): defect for defect in every}
    return {
        kind: found[kind] for kind in selectors.names("defect", patterns or [selectors.ALL], found)
    }


def run(selection: Selection, kinds: Sequence[str], workers: int) -> Iterator[CellStudy]:
    """Study every cell that has a model, ``workers`` at a time; the first to end comes first.

    NothingSelectedError where one has no model or does not conform as it is, UnavailableError
    where one cannot be judged here.
    """
    prepared = pipeline.prepare(selection, lambda text: None)
    for work in prepared.works:
        runtime = prepared.runtimes[work.cell.runtime]
        if framework := framework_of(runtime):
            raise UsageError(f"--runtime {framework}: it runs no graph to plant defects in")
        if reason := work.unavailable or guard.reason(runtime):
            raise UnavailableError(f"{work.cell.id}: {reason}")
        if work.model is None:
            raise NothingSelectedError(f"{work.cell.id} has no model: {work.failure}")
    cells = [work.cell for work in prepared.works]
    if twice := [cell.id for cell in dict.fromkeys(cells) if cells.count(cell) > 1]:
        raise UsageError(f"{twice[0]} is asked for more than once; give one file for each cell")
    stop = Event()
    with ThreadPoolExecutor(workers) as pool:
        studies = [pool.submit(_supervised, c, selection, kinds, stop=stop) for c in cells]
        try:
            for done in as_completed(studies):
                yield done.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _supervised(
    cell: Cell,
    selection: Selection,
    kinds: Sequence[str],
    target: Callable[..., None] | None = None,
    stop: Event | None = None,
) -> CellStudy:
    """Study a cell in a child; where a mutant ends it, that is a catch, and another goes on.

    HarnessError soon after ``stop`` is set.
    """
    started = perf_counter()
    stop = stop or Event()
    selection = replace(selection, keyword=cell.id, shard=None)
    trials: list[Trial] = []
    while True:
        with TemporaryDirectory() as folder:
            log = Path(folder) / "stderr"
            log.touch()
            honest, pending, code = _in_child(
                target or _child, trials, (cell, selection, kinds), log, stop
            )
            if honest is not None:
                return CellStudy(cell, tuple(trials), honest, perf_counter() - started)
            end = f"{_end(code)}: {log.read_text(errors='replace').strip().rpartition(chr(10))[2]}"
        if pending is None:
            raise HarnessError(f"{cell.id}: the process that studies it {end}")
        trials.append(_died(pending, end))


def _in_child(
    target: Callable[..., None],
    trials: list[Trial],
    task: tuple[Cell, Selection, Sequence[str]],
    log: Path,
    stop: Event,
) -> tuple[Honest | None, Trial | None, int | None]:
    """Add to ``trials`` what a child finds; the honest cell where it comes to its end, else the
    trial that had begun, if any, and the exit code."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=target, args=(*task, list(trials), theirs, log), daemon=True)
    child.start()
    theirs.close()
    pending: Trial | None = None
    with ours:
        try:
            while True:
                while not (ours.poll(WAIT) or stop.is_set()):
                    pass
                if stop.is_set():
                    child.kill()
                    raise HarnessError("ended before its time")
                message = ours.recv()
                if isinstance(message, Honest):
                    return message, None, None
                if isinstance(message, HarnessError):
                    raise message
                done, trial = message
                pending = None if done else trial
                if done:
                    trials.append(trial)
        except EOFError:
            child.join()
            return None, pending, child.exitcode


def _child(
    cell: Cell,
    selection: Selection,
    kinds: Sequence[str],
    known: Sequence[Trial],
    pipe: Any,
    log: Path,
) -> None:
    """Send each trial after ``known`` as it begins and as it ends, and the honest cell at last.

    What goes wrong here, rather than in the runtime's native code, is no catch: it is sent, too.
    """
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    try:
        prepared = pipeline.prepare(selection, lambda text: None)
        work = next(work for work in prepared.works if work.cell == cell)
        try:
            court = Court(work, prepared.runtimes[cell.runtime], load(REFEREE))
            honest = court.honest()
        except StageError as error:
            raise NothingSelectedError(f"{cell.id} does not conform: {error}") from None
        if bad := [case for case in honest if case.status is not Status.PASS]:
            raise NothingSelectedError(f"{cell.id} does not conform: {bad[0].reason}")
        court.try_all(defects(kinds), known, lambda done, trial: pipe.send((done, trial)))
    except HarnessError as error:
        pipe.send(error)
        return
    except (Exception, KeyboardInterrupt) as error:
        pipe.send(HarnessError(f"{cell.id} cannot be studied: {one_line(error)}"))
        return
    outputs = [output for case in honest for output in case.outputs]
    bound = max(_bound(output, k(cell.runtime)) for output in outputs)
    pipe.send(Honest(max(output.ratio for output in outputs), bound, court.alarming))


def _died(trial: Trial, end: str) -> Trial:
    """A mutant that ended its process was noticed by everyone who ran it.

    One that ended only the referee's was not: it has a reason already, that every case passes.
    """
    if trial.reason:
        return replace(trial, reason=f"{trial.reason}; in exact arithmetic its process {end}")
    noticed = dict(trial.peers) or {peer.name: True for peer in peers.PEERS}
    reason = f"the runtime's process {end}"
    return replace(trial, verdict=Verdict.CAUGHT, stage=Stage.RUN, reason=reason, peers=noticed)


def _end(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {Signals(-code).name}"
    return f"ended with exit code {code}"


def _bound(output: OutputComparison, factor: float) -> float:
    """From how many noise floors on noise on any value of ``output`` is caught."""
    unit = output.tolerance / factor
    return (output.tolerance + output.max_abs) / unit if unit else 0.0
