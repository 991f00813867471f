"""A child process whose output is counted and that is killed with all that it started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from harness.processes import lifeline
from harness.processes.forked import Forked
from harness.processes.lifeline import Lifeline

LOOK = 0.2
"""Seconds between checks that a process lives: what it forked may hold its pipes open."""
_GRACE = 5.0
_TAIL = 4096


class Process:
    """A child that leads a session of its own, so that a terminal's Ctrl-C does not reach it.

    It runs a command, or a function in a fork of this process; ``line`` ends it with this process.
    Its output is what it writes to standard error and, unless ``answers`` is set, to standard
    output: the end is kept, and over ``limit`` bytes since ``renew`` the process is killed. With
    ``answers``, which is for commands, standard input and output are the caller's. The child
    inherits ``handle``, that of a connection. OSError where there is no such command.
    """

    def __init__(
        self,
        runs: Sequence[str] | Callable[[], object],
        limit: int,
        environment: Mapping[str, str] | None = None,
        handle: int = -1,
        answers: bool = False,
        line: Lifeline | None = None,
    ) -> None:
        self._mark = lifeline.new_mark()
        self._line = line or Lifeline()
        environment = {**(environment or {}), self._mark: "1"}
        self._popen: subprocess.Popen[bytes] | Forked
        with self._line:
            if callable(runs):
                self._popen = Forked(runs, handle, self._line.theirs, self._mark, environment)
            else:
                self._popen = subprocess.Popen(
                    runs,
                    stdin=subprocess.PIPE if answers else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE if answers else subprocess.STDOUT,
                    env={**os.environ, **environment},
                    **_apart([n for n in (handle, self._line.theirs) if n >= 0]),
                )
                lifeline.tie(self._line.theirs, self._popen.pid)
        output = self._popen.stderr if answers else self._popen.stdout
        assert output is not None
        self._output = _Output(output, limit, self._popen.kill)

    @property
    def stdin(self) -> IO[bytes]:
        assert self._popen.stdin is not None
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self._popen.stdout is not None
        return self._popen.stdout

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def flooded(self) -> bool:
        """Whether it wrote over its limit, and was killed for it."""
        return self._output.flooded

    def renew(self) -> None:
        """Count its output from 0 again."""
        self._output.written = 0

    def lines(self, count: int = 0) -> list[str]:
        """Return the last non-empty lines of its output, once it has ended; for 0 all it keeps."""
        return self._output.lines()[-count:]

    def wait(self, seconds: float) -> int | None:
        """Return its exit code, as ``Popen`` does, once it has ended; None where it has not."""
        with suppress(subprocess.TimeoutExpired):
            return self._popen.wait(seconds)
        return None

    def ended(self) -> str:
        """Return how it ended, which may be a moment after its connection closed."""
        if self.flooded:
            return f"wrote over {self._output.limit:,} bytes of output and was killed"
        status = self.wait(_GRACE)
        if status is None:
            self.kill()
            return "sent no readable answer and was killed"
        if status >= 0:
            return f"ended with exit code {status}"
        names = {number.value: number.name for number in signal.Signals}
        text = f"ended with signal {names.get(-status, -status)}"
        return f"{text} (the system kills for want of memory)" if status == -9 else text

    def kill(self) -> None:
        """Kill it and what it started, in other sessions too where there is a /proc.

        What it started has the mark in its environment, unless that was cleared; what a fork of
        this process has forked has the descriptor of that name. Where it had ended long ago, its
        number may be another's.
        """
        if sys.platform == "win32":
            self._popen.kill()
        elif self.alive or not Path("/proc/self/environ").exists():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        self._line.cut()
        self._popen.wait()
        for _ in range(100):
            if not self._kill_marked():
                break
            time.sleep(0.01)

    def _kill_marked(self) -> int:
        """Kill the processes that have the mark and return their number."""
        killed = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._is_marked(folder):
                    os.kill(int(folder.name), signal.SIGKILL)
                    killed += 1
        return killed

    def _is_marked(self, folder: Path) -> bool:
        if self._mark.encode() in (folder / "environ").read_bytes():
            return True
        forked = isinstance(self._popen, Forked)
        return forked and any(self._mark in os.readlink(n) for n in (folder / "fd").iterdir())


_BANNER = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:|[IWE]\d{4} \d\d:|WARNING: All log messages before absl"
)
"""How the lines begin that TensorFlow logs from C++, whatever happens."""


class _Output:
    """Reads a stream to its end in a thread, so that the process never blocks on a full pipe."""

    def __init__(self, stream: IO[bytes], limit: int, kill: Any) -> None:
        self.written = 0
        self.limit = limit
        self.flooded = False
        self._end = b""
        self._stream, self._kill = stream, kill
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def lines(self) -> list[str]:
        self._thread.join(_GRACE)
        text = self._end.decode(errors="replace")
        printable = ("".join(c if c.isprintable() else " " for c in s) for s in text.splitlines())
        return [line.strip() for line in printable if line.strip() and not _BANNER.match(line)]

    def _read(self) -> None:
        with self._stream as stream:
            while part := os.read(stream.fileno(), 2**16):
                self.written += len(part)
                self._end = (self._end + part)[-_TAIL:]
                if self.written > self.limit and not self.flooded:
                    self.flooded = True
                    self._kill()


def _apart(handles: Sequence[int]) -> dict[str, Any]:
    """Return the arguments of ``Popen`` for a session leader that inherits ``handles``."""
    if sys.platform == "win32":
        for handle in handles:
            os.set_handle_inheritable(handle, True)
        return {"startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": handles})}
    return {"pass_fds": handles, "start_new_session": True}
