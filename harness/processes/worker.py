"""Calls of functions in a child process, which is limited, watched and may be lost.

All that may crash, hang, leak or print without end runs in a ``Worker``. The function that it calls
takes ``emit``, which sends an event, and then its arguments; functions, arguments, events and
results are pickled.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection as connections
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.processes import child
from harness.processes.forked import available
from harness.processes.lifeline import Lifeline
from harness.processes.limits import Limits, data_in_use
from harness.processes.process import LOOK, Process

Heed = Callable[[Any], None]
_ROOT = Path(__file__).parents[2]
_START = """\
import sys
root, handle, line, memory = sys.argv[1:]
sys.path.append(root)
from harness.processes.lifeline import join
join(int(line))
from harness.processes.child import main
main(int(handle), int(memory))
"""
_LAST = 20


class LostError(Exception):
    """A call's process ended before the call did: ``how``, and the last ``lines`` of its output."""

    def __init__(self, how: str, lines: Sequence[str]) -> None:
        end = " ".join(lines[-3:])
        super().__init__(f"{how}: {end}" if end else how)
        self.how = how
        self.lines = list(lines)


@dataclass(frozen=True)
class Returned:
    """What a call returned."""

    value: Any


class Worker:
    """A child process for any number of calls, one after the other, until it is lost or stopped.

    It ends with this process. Its ``sys.path`` is ``path`` and then this process's. A call raises
    HarnessError soon after ``ending`` is set. A ``forked`` one has what this process has imported,
    and starts in a hundredth of the time, where a fork is sound; elsewhere it is as any other. Its
    memory counts beside what this process had, and libraries that were loaded here have read the
    environment before.
    """

    def __init__(
        self,
        limits: Limits,
        environment: Mapping[str, str] | None = None,
        path: Sequence[str] = (),
        ending: threading.Event | None = None,
        forked: bool = False,
    ) -> None:
        self.limits = limits
        self._ending = ending or threading.Event()
        self._begun = self._heard = time.monotonic()
        self.connection, theirs = connections.Pipe()
        line = Lifeline()
        runs: Sequence[str] | Callable[[], object]
        if forked and available():
            runs = partial(child.serve, theirs, min(sys.maxsize, limits.data + data_in_use()))
        else:
            numbers = (theirs.fileno(), line.theirs, limits.data)
            command = [sys.executable, *_flags(), "-c", _START, str(_ROOT)]
            runs = [*command, *map(str, numbers)]
        with theirs:
            handle = theirs.fileno()
            self._process = Process(runs, limits.output, environment, handle, line=line)
        with suppress(OSError):
            self.connection.send([*path, *sys.path])

    @property
    def alive(self) -> bool:
        return self._process.alive

    @property
    def seconds_left(self) -> float:
        """Seconds of the call's time that are left."""
        return max(0.0, self._begun + self.limits.time - time.monotonic())

    def call(
        self, function: Callable[..., Any], *arguments: Any, heed: Heed = lambda _: None
    ) -> Any:
        """Return what ``function(emit, *arguments)`` returns there; ``heed`` is called per event.

        HarnessError as it is raised there; LostError where the process does not survive the call.
        """
        try:
            self.begin(function, *arguments)
            while not (returned := self.poll(heed)):
                if self._ending.is_set():
                    raise HarnessError("ended before its time")
                connections.wait([self.connection], min(LOOK, self.seconds_left))
            return returned.value
        except (HarnessError, LostError):
            raise
        except BaseException:
            self.stop()
            raise

    def begin(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Send a call; the next ``poll`` raises where the process has died."""
        self.renew()
        with suppress(OSError):
            self.connection.send((function, arguments))

    def renew(self) -> None:
        """Start to count the time and the output from 0 again."""
        self._begun = self._heard = time.monotonic()
        self._process.renew()

    def poll(self, heed: Heed) -> Returned | None:
        """Handle the events that have come; return what the call returned, None while it goes on.

        Raises as ``call`` does, after the events that a lost process had sent.
        """
        dead = not self.alive
        if dead:
            self._process.kill()
        try:
            returned = self._hear(heed)
        except HarnessError:
            raise
        except Exception:
            raise self._lost(heed) from None
        if returned:
            return returned
        if dead or self._process.flooded:
            raise self._lost(heed)
        if not self.seconds_left:
            raise self._lost(heed, f"did not end within {self.limits.time:g} s and was killed")
        silence = self.limits.silence
        if silence is not None and time.monotonic() - self._heard > silence:
            raise self._lost(heed, f"gave no sign of life for {silence:g} s and was killed")
        return None

    def stop(self) -> None:
        """Kill the process and what it started."""
        self._process.kill()
        self.connection.close()

    def _hear(self, heed: Heed) -> Returned | None:
        while self.connection.poll():
            kind, value = self.connection.recv()
            self._heard = time.monotonic()
            if kind == child.RAISED:
                raise value
            if kind != child.EVENT:
                return Returned(value)
            heed(value)
        return None

    def _lost(self, heed: Heed, how: str = "") -> LostError:
        how = how or self._process.ended()
        self._process.kill()
        with suppress(Exception):
            self._hear(heed)
        lost = LostError(how, self._process.lines(_LAST))
        self.connection.close()
        return lost


def call_in_child(
    limits: Limits,
    function: Callable[..., Any],
    *arguments: Any,
    heed: Heed = lambda event: None,
    **options: Any,
) -> Any:
    """Make one call, as ``Worker.call``, in a new child with ``options``."""
    worker = Worker(limits, **options)
    try:
        return worker.call(function, *arguments, heed=heed)
    finally:
        worker.stop()


def _flags() -> list[str]:
    """Return flags with which Python trusts its environment and folder no more than here."""
    if sys.flags.isolated:
        return ["-I"]
    kept = {"-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
    return ["-P", *(flag for flag, is_set in kept.items() if is_set)]
