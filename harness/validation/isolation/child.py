"""A cell in a child process: what kills, stalls or floods the child is a result here."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from harness.core.errors import clipped
from harness.core.results import CaseResult, CellResult, Status
from harness.core.schema import Case, Stage, lengths_text
from harness.processes.limits import GIB, Limits
from harness.processes.worker import Heed, LostError, Worker
from harness.validation import engine
from harness.validation.job import Event, Notify, Ready


def judge(emit: Heed, job: Ready, trusted: Collection[str]) -> CellResult:
    """Judge a cell in this process; every event of it is emitted, and its cases only so."""
    (result,) = engine.run([job], lambda _, event: emit(event), trusted)
    return replace(result, cases=())


class Child:
    """A process that judges cells, of one runtime, one after the other, until it is lost.

    Runtimes that are ``trusted`` compare cases while later ones run, as ``engine.run`` has it.
    """

    def __init__(
        self,
        limits: Limits,
        forked: bool = False,
        trusted: Collection[str] = (),
        path: Sequence[str] = (),
    ) -> None:
        self.worker = Worker(limits, forked=forked, path=path)
        self.trusted = trusted

    def begin(self, job: Ready) -> None:
        """Hand a cell over; a child that died meanwhile shows at the next ``poll``."""
        self._job = job
        self._stage = Stage.LOAD
        self._cases: list[CaseResult] = []
        self._case: Case | None = None
        self._relation = ""
        self._begun = time.monotonic()
        self.worker.begin(judge, job, self.trusted)

    def poll(self, notify: Notify) -> CellResult | None:
        """Take the events that have come; return the cell's result, or None while it goes on.

        A child that gave an ``error`` is not to be used again. What ends the whole call, such as a
        golden that was altered, is raised here, too.
        """

        def heed(event: Event) -> None:
            self._note(event)
            notify(self._job, event)

        try:
            returned = self.worker.poll(heed)
        except LostError as lost:
            return self._failed(lost)
        if returned is None:
            return None
        result: CellResult = returned.value
        evidence = {**result.evidence, "limits": self._limits}
        replay = self._replay if result.status is Status.ERROR else result.replay
        cases = tuple(self._cases)
        return replace(result, evidence=evidence, replay=replay, cases=cases)

    @property
    def _limits(self) -> dict[str, float | int | None]:
        """What the child may use, for a report; None for what has no limit."""
        limits = self.worker.limits
        return {
            "seconds": limits.time if math.isfinite(limits.time) else None,
            "silence": limits.silence,
            "memory": None if limits.data >= sys.maxsize else limits.data,
        }

    @property
    def _replay(self) -> str:
        return self._job.replay + flags(self.worker.limits)

    def _note(self, event: Event) -> None:
        if isinstance(event, CaseResult):
            self._cases.append(event)
            self._case = None
        elif isinstance(event, Case):
            self._case = event
        elif isinstance(event, Stage):
            self._stage = event
        else:
            self._relation = event

    def _failed(self, lost: LostError) -> CellResult:
        """Return the result of a cell that its process did not survive, with the cases before."""
        where = f"relation {self._relation}: " if self._relation else ""
        if self._case is not None:
            where = f"{lengths_text(self._case.lengths)}, batch={self._case.batch}: "
        reason = clipped(f"{where}the process that ran it {lost}")
        if self._case is not None:
            self._cases.append(CaseResult(self._case, Status.ERROR, self._stage, reason))
        return CellResult(
            self._job.cell,
            Status.ERROR,
            self._stage,
            reason,
            {"isolation": {"ended": lost.how, "output": lost.lines}, "limits": self._limits},
            tuple(self._cases),
            time.monotonic() - self._begun,
            self._replay,
        )


def flags(limits: Limits) -> str:
    """Return the flags, each after a space, that isolate a cell with these limits."""
    time = "" if limits.seconds is None else f" --timeout {limits.seconds:g}"
    memory = "" if limits.memory is None else f" --memory-limit {limits.memory / GIB:g}"
    return f" --isolate{time}{memory}"
