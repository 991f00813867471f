"""Cells here or in children, one or several at a time, and their results in the cells' order."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing.connection import wait

from harness.core.errors import UsageError
from harness.core.schema import CellResult, Runtime, Status
from harness.processes.limits import GIB, Limits
from harness.processes.process import LOOK
from harness.runtimes import RUNTIMES
from harness.runtimes.settings import Settings
from harness.validation import engine
from harness.validation.isolation.child import Child, Setup
from harness.validation.isolation.deaths import Deaths
from harness.validation.job import Tell, Work

AT_HOME = ("ort-cpu", "ort-cuda")
"""Runtimes that are trusted with this process, unless isolation or several workers are asked for"""


@dataclass(frozen=True)
class Isolation:
    """Which cells run in a child: all (True), none (False), or those not ``AT_HOME`` (None).

    With more than one of ``workers`` all do, and by default a cell in which a process died before,
    until it ends. ``deaths`` is where that is kept, if it is.
    """

    asked: bool | None = None
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    deaths: Deaths | None = None

    @cached_property
    def died(self) -> set[str]:
        """The cells in which a process died, by name."""
        return self.deaths.seen() if self.deaths else set()

    def holds(self, work: Work) -> bool:
        """Whether the cell runs in a child; one that has nothing to run needs none."""
        if work.model is None or work.unavailable is not None or work.loaded is not None:
            return False
        if self.asked is None:
            known = work.cell.runtime in AT_HOME and _name(work) not in self.died
            return self.workers > 1 or not known
        return self.asked


def asked(
    isolate: bool | None,
    workers: int,
    seconds: float | None,
    gib: float | None,
    deaths: Deaths | None = None,
) -> Isolation:
    """What a command line asks for: a limit isolates every cell; UsageError where none may be."""
    limits = Limits(seconds, None if gib is None else int(gib * GIB))
    limited = limits != Limits()
    if isolate is False and (limited or workers > 1):
        raise UsageError(
            "--no-isolate: --workers above 1, --timeout and --memory-limit isolate every cell"
        )
    return Isolation(True if limited else isolate, workers, limits, deaths)


def run(
    works: Sequence[Work],
    runtimes: Mapping[str, Runtime],
    settings: Settings,
    isolation: Isolation,
    tell: Tell,
) -> Generator[CellResult]:
    """Judge every cell; the results come in the order of ``works``.

    Closing the iterator kills every child.
    """
    apart = [isolation.holds(work) for work in works]
    here = [work for work, isolated in zip(works, apart, strict=True) if not isolated]
    there = [work for work, isolated in zip(works, apart, strict=True) if isolated]
    local = engine.run(here, runtimes, tell, AT_HOME)
    with closing(_in_children(there, settings, isolation, tell)) as remote:
        for work, isolated in zip(works, apart, strict=True):
            if isolated:
                yield _after(work, next(remote), isolation)
            else:
                with isolation.deaths.watched(_name(work)) if isolation.deaths else nullcontext():
                    result = next(local)
                yield result


def _name(work: Work) -> str:
    """Cells of two files may have the same id."""
    return f"{work.cell.id} {work.model and work.model.resolve()}"


def _after(work: Work, result: CellResult, isolation: Isolation) -> CellResult:
    """The result of a cell in a child, which tells whether a process died in the cell before."""
    if _name(work) not in isolation.died:
        return result
    if isolation.deaths and result.status is not Status.ERROR:
        isolation.deaths.forget(_name(work))
    return replace(result, evidence={**result.evidence, "died_before": True})


def _in_children(
    works: Sequence[Work], settings: Settings, isolation: Isolation, tell: Tell
) -> Generator[CellResult]:
    """Judge each cell in a child that has its runtime: a new one where none is idle."""
    waiting = deque(enumerate(works))
    busy: dict[int, Child] = {}
    idle: defaultdict[str, list[Child]] = defaultdict(list)
    done: dict[int, CellResult] = {}
    try:
        for wanted in range(len(works)):
            while wanted not in done:
                while waiting and len(busy) < isolation.workers:
                    number, work = waiting.popleft()
                    busy[number] = _child(work.cell.runtime, idle, settings, isolation.limits)
                    busy[number].begin(work)
                soonest = min(LOOK, *(child.seconds_left for child in busy.values()))
                wait([stream for child in busy.values() for stream in child.streams], soonest)
                for number, child in list(busy.items()):
                    if (result := child.poll(tell)) is not None:
                        done[number] = result
                        if result.status is Status.ERROR:
                            child.stop()
                        else:
                            idle[child.runtime].append(child)
                        del busy[number]
            yield done.pop(wanted)
    finally:
        for child in [*busy.values(), *(child for group in idle.values() for child in group)]:
            child.stop()


def _child(
    runtime: str, idle: Mapping[str, list[Child]], settings: Settings, limits: Limits
) -> Child:
    while idle[runtime]:
        child = idle[runtime].pop()
        if child.alive:
            return child
        child.stop()
    return Child(Setup(runtime, dict(RUNTIMES), settings), limits)
