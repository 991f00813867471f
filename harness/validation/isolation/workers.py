"""Cells here or in children, one or several at a time, and their results in the cells' order."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing.connection import wait
from typing import TypeGuard

from harness.core.errors import UsageError
from harness.core.results import CellResult, Status
from harness.processes.limits import GIB, OF_A_FILE, UNLIMITED, Limits
from harness.processes.process import LOOK
from harness.validation import engine
from harness.validation.isolation.child import Child
from harness.validation.isolation.deaths import Deaths
from harness.validation.job import Job, Notify, Ready
from harness.validation.outputs.saved import Saved

AT_HOME = ("ort-cpu", "ort-cuda")
"""Runtimes that are trusted with this process, unless isolation or several workers are set."""
FORKED = ("ort-cpu",)
"""Runtimes that have nothing in this process that a fork would break, as CUDA would be."""


@dataclass(frozen=True)
class Isolation:
    """Which cells run in a child: all (True), none (False), or those that need one (None).

    One at a version of its own is always in a child. Those of a runtime that is not ``AT_HOME``
    need one and, while ``limited``, those of a model that is not ours: it may loop for ever. With
    more than one of ``workers`` all run in a child, and by default a cell in which a process died
    before, until it ends. ``deaths`` holds those, if they are kept.
    """

    isolate: bool | None = None
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    deaths: Deaths | None = None
    limited: bool = True

    @cached_property
    def died(self) -> set[str]:
        """The cells in which a process died, by name."""
        return self.deaths.cells() if self.deaths else set()

    def holds(self, job: Job) -> TypeGuard[Ready]:
        """Return whether the cell runs in a child; one that has nothing to run needs none."""
        if not isinstance(job, Ready) or job.model is None or isinstance(job.runtime, Saved):
            return False
        if job.import_path:
            return True
        if self.isolate is None:
            trusted = job.cell.runtime in AT_HOME and _name(job) not in self.died
            return self.workers > 1 or not trusted or (self.limited and not job.ours)
        return self.isolate

    def limits_of(self, job: Ready) -> Limits:
        """Return the limits of a cell's child; a model that is not ours has one of silence, too."""
        if not self.limited:
            return UNLIMITED
        return self.limits if job.ours else replace(self.limits, silence=OF_A_FILE.silence)


def from_flags(
    isolate: bool | None,
    workers: int,
    seconds: float | None,
    gib: float | None,
    deaths: Deaths | None = None,
    unlimited: bool = False,
) -> Isolation:
    """Return the isolation that flags request: a limit isolates all; UsageError if none may be."""
    limits = Limits(seconds, None if gib is None else int(gib * GIB))
    limited = limits != Limits()
    if limited and unlimited:
        raise UsageError("--no-limit: --timeout and --memory-limit are limits; give one or other")
    if isolate is False and (limited or workers > 1):
        raise UsageError(
            "--no-isolate: --workers above 1, --timeout and --memory-limit isolate every cell"
        )
    return Isolation(True if limited else isolate, workers, limits, deaths, not unlimited)


def run(jobs: Sequence[Job], isolation: Isolation, notify: Notify) -> Generator[CellResult]:
    """Judge every cell; the results come in the order of ``jobs``.

    Closing the iterator kills every child.
    """
    isolated = [job for job in jobs if isolation.holds(job)]
    local = engine.run([job for job in jobs if not isolation.holds(job)], notify, AT_HOME)
    with closing(_in_children(isolated, isolation, notify)) as remote:
        for job in jobs:
            if isolation.holds(job):
                yield _after(job, next(remote), isolation)
            else:
                deaths = isolation.deaths if isinstance(job, Ready) else None
                with deaths.watched(_name(job)) if deaths else nullcontext():
                    result = next(local)
                yield result


def _name(job: Job) -> str:
    """Return a name of the cell: cells of two files may have the same id."""
    model = job.model if isinstance(job, Ready) else None
    return f"{job.cell.id} {model and model.resolve()}"


def _after(job: Job, result: CellResult, isolation: Isolation) -> CellResult:
    """Return the result of a cell in a child, with whether a process died in the cell before."""
    if _name(job) not in isolation.died:
        return result
    if isolation.deaths and result.status is not Status.ERROR:
        isolation.deaths.forget(_name(job))
    return replace(result, evidence={**result.evidence, "died_before": True})


def _in_children(
    jobs: Sequence[Ready], isolation: Isolation, notify: Notify
) -> Generator[CellResult]:
    """Judge each cell in a child that has its runtime: a new one where none is idle."""
    waiting = deque(enumerate(jobs))
    busy: dict[int, Child] = {}
    idle: defaultdict[str, list[Child]] = defaultdict(list)
    done: dict[int, CellResult] = {}
    try:
        for next_number in range(len(jobs)):
            while next_number not in done:
                while waiting and len(busy) < isolation.workers:
                    number, job = waiting.popleft()
                    busy[number] = _child(idle[job.cell.runtime], job, isolation)
                    busy[number].begin(job)
                soonest = min(LOOK, *(child.worker.seconds_left for child in busy.values()))
                wait([child.worker.connection for child in busy.values()], soonest)
                for number, child in list(busy.items()):
                    if (result := child.poll(notify)) is not None:
                        done[number] = result
                        if result.status is Status.ERROR:
                            child.worker.stop()
                        else:
                            idle[result.cell.runtime].append(child)
                        del busy[number]
            yield done.pop(next_number)
    finally:
        for child in [*busy.values(), *(child for group in idle.values() for child in group)]:
            if child.trusted and child not in busy.values():
                # It is idle and has started nothing: nobody waits for its end, which takes as long
                # as a short cell. Where this process ends first, the system ends the child.
                threading.Thread(target=child.worker.stop, daemon=True).start()
            else:
                child.worker.stop()


def _child(idle: list[Child], job: Ready, isolation: Isolation) -> Child:
    """Return a child for a job: an idle one with its limits that lives, else a new one."""
    limits = isolation.limits_of(job)
    while idle:
        child = idle.pop()
        if child.worker.alive and child.worker.limits == limits:
            return child
        child.worker.stop()
    forked = job.cell.runtime in FORKED and not job.ours
    return Child(limits, forked, FORKED if forked else (), job.import_path)
