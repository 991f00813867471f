"""A process that may be lost: started apart, watched, and ended with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Pipe
from pathlib import Path
from uuid import uuid4

LOOK = 0.2
"""Seconds after which to look whether a process lives: what it forked may hold its pipes open."""
_GRACE = 5.0


class Process:
    """Runs ``python -m MODULE DESCRIPTOR ARGUMENT…``, which answers on a connection.

    It leads a session of its own: a terminal's Ctrl-C does not reach it. ``output`` is where what
    it writes goes, as ``subprocess`` takes it.
    """

    def __init__(self, module: str, *arguments: str, output: int) -> None:
        self._mark = f"HARNESS_PROCESS_{uuid4().hex}"
        self.connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                bufsize=0,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**os.environ, self._mark: "1"},
            )
        self.output = self._process.stdout

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def answers(self, seconds: float) -> bool:
        """Whether there is something to receive, once there is or the process or the time ends.

        Of a process that ended nothing is left, so that its last words are there to the last.
        """
        end = time.monotonic() + seconds
        while self.alive and (left := end - time.monotonic()) > 0:
            if self.connection.poll(min(left, LOOK)):
                return True
        if not self.alive:
            self.kill()
        return self.connection.poll()

    def ended(self) -> str:
        """How the process ended of itself, which may take it a moment after its last word."""
        try:
            status = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return "sent no readable answer, was killed"
        if status >= 0:
            return f"ended with exit code {status}"
        names = {one.value: one.name for one in signal.Signals}
        told = f"ended with signal {names.get(-status, -status)}"
        return f"{told} (the system kills for want of memory)" if status == -9 else told

    def kill(self) -> None:
        """Kill the process and what it started, in other sessions too where there is a /proc.

        Whatever was started by it has the mark in its environment, unless that was cleared.
        """
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for _ in range(100):
            if not self._kill_marked():
                break
            time.sleep(0.01)

    def _kill_marked(self) -> int:
        """Kill the processes that have the mark; the number of those that there were."""
        killed = 0
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if self._mark.encode() in environ.read_bytes():
                    os.kill(int(environ.parent.name), signal.SIGKILL)
                    killed += 1
        return killed
