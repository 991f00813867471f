"""A cell in a child process: what kills, stalls or floods the child is a result here."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from subprocess import PIPE
from typing import Any

from harness.core.errors import HarnessError, clipped
from harness.core.schema import Case, CaseResult, CellResult, Stage, Status, lengths_text
from harness.processes.limits import Limits
from harness.processes.process import Process
from harness.runtimes.settings import Settings
from harness.validation.job import Event, Tell, Work

PROGRAM = "harness.validation.isolation.child_main"
_TAIL = 4096
_LINES = 20


@dataclass(frozen=True)
class Setup:
    """What a child has a runtime from: its name, the target of every name, and its settings."""

    runtime: str
    targets: Mapping[str, str]
    settings: Settings


class Child:
    """A process that judges cells of one runtime, one after the other, until it dies."""

    def __init__(self, setup: Setup, limits: Limits) -> None:
        self.runtime = setup.runtime
        self._limits = limits
        self._process = Process(PROGRAM, str(limits.data), output=PIPE)
        self._connection = self._process.connection
        assert self._process.output is not None
        self._output = self._process.output
        os.set_blocking(self._output.fileno(), False)
        self._setup: Setup | None = setup

    @property
    def streams(self) -> list[Any]:
        """What to wait on until there is something to ``poll``, but for a death."""
        return [self._connection] if self._output.closed else [self._connection, self._output]

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._begun + self._limits.time - time.monotonic())

    @property
    def alive(self) -> bool:
        return self._process.alive

    def begin(self, work: Work) -> None:
        """Hand a cell over; a child that died meanwhile shows at the next ``poll``."""
        self._work = work
        self._stage = Stage.LOAD
        self._cases: list[CaseResult] = []
        self._case: Case | None = None
        self._relation = ""
        self._said, self._written = b"", 0
        self._begun = time.monotonic()
        with suppress(OSError):
            self._connection.send((self._setup, work))
            self._setup = None

    def poll(self, tell: Tell) -> CellResult | None:
        """Take what has come since: the cell's result, or None while it goes on.

        A child that gave an ``error`` is not to be used again. One that died may have left what it
        started, which holds its pipes open: that is killed before the last of them is taken.
        """
        if died := not self.alive:
            self._process.kill()
        self._listen()
        if self._written > self._limits.output:
            how = f"wrote over {self._limits.output:,} bytes of output, was killed"
            return self._failed(how, tell)
        try:
            result = self._hear(tell)
        except HarnessError:
            raise
        except Exception:
            return self._failed(self._process.ended(), tell)
        if result is not None:
            bad = result.status is Status.ERROR
            return replace(result, replay=self._replay) if bad else result
        if died:
            return self._failed(self._process.ended(), tell)
        if not self.seconds_left:
            return self._failed(f"did not end within {self._limits.time:g} s, was killed", tell)
        return None

    def stop(self) -> None:
        """Kill the process and what it started."""
        self._process.kill()
        self._connection.close()
        self._output.close()

    @property
    def _replay(self) -> str:
        return self._work.replay + self._limits.flags

    def _hear(self, tell: Tell) -> CellResult | None:
        """Take the events that are there, up to a result; an error where there will be no more.

        What ends the whole call, such as a golden that was altered, is raised here, too.
        """
        while self._connection.poll():
            event = self._connection.recv()
            if isinstance(event, CellResult):
                return event
            if isinstance(event, HarnessError):
                raise event
            self._note(event)
            tell(self._work, event)
        return None

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

    def _listen(self) -> None:
        """Take the output that is there, count it and keep its end."""
        while not self._output.closed and self._written <= self._limits.output:
            part = self._output.read(2**16)
            if part is None:
                return
            if not part:
                self._output.close()
            self._written += len(part)
            self._said = (self._said + part)[-_TAIL:]

    def _failed(self, how: str, tell: Tell) -> CellResult:
        """What a cell that its process did not survive comes to, with the cases before.

        What the process had sent before it died still counts.
        """
        self._process.kill()
        self._listen()
        with suppress(Exception):
            self._hear(tell)
        text = self._said.decode(errors="replace")
        shown = ("".join(c if c.isprintable() else " " for c in s) for s in text.splitlines())
        lines = [line.strip() for line in shown if line.strip()][-_LINES:]
        where = f"relation {self._relation}: " if self._relation else ""
        if self._case is not None:
            where = f"{lengths_text(self._case.lengths)}, batch={self._case.batch}: "
        told = f"{where}the process that ran it {how}"
        reason = clipped(": ".join([told, " ".join(lines[-3:])] if lines else [told]))
        if self._case is not None:
            self._cases.append(CaseResult(self._case, Status.ERROR, self._stage, reason))
        limits = {"seconds": self._limits.time, "memory": self._limits.data}
        return CellResult(
            self._work.cell,
            Status.ERROR,
            self._stage,
            reason,
            {"isolation": {"ended": how, "output": lines, "limits": limits}},
            tuple(self._cases),
            time.monotonic() - self._begun,
            self._replay,
        )
