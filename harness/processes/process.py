"""A process that may be lost: started apart, its output counted, ended with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

LOOK = 0.2
"""Seconds after which to look whether a process lives: what it forked may hold its pipes open."""
_GRACE = 5.0
_TAIL = 4096


class Process:
    """A child that leads a session of its own: a terminal's Ctrl-C does not reach it.

    What it writes to standard error, and to standard output unless ``answers`` is set, is its
    output: its end is kept, and over ``limit`` bytes since ``renew`` it is killed. With ``answers``
    standard input and output are left to the caller. ``handle`` is a connection's, to inherit.
    OSError where there is no such command.
    """

    def __init__(
        self,
        command: Sequence[str],
        limit: int,
        environment: Mapping[str, str] | None = None,
        handle: int | None = None,
        answers: bool = False,
    ) -> None:
        self._mark = f"HARNESS_PROCESS_{uuid4().hex}"
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if answers else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if answers else subprocess.STDOUT,
            env={**os.environ, **(environment or {}), self._mark: "1"},
            **_apart(handle),
        )
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
        """Count its output anew."""
        self._output.written = 0

    def lines(self, count: int) -> list[str]:
        """Return the last lines of its output that are not empty, once there will be no more."""
        return self._output.lines()[-count:]

    def ended(self) -> str:
        """Return how it ended of itself, which may take it a moment after its last word."""
        if self.flooded:
            return f"wrote over {self._output.limit:,} bytes of output, was killed"
        try:
            status = self._popen.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
            return "sent no readable answer, was killed"
        if status >= 0:
            return f"ended with exit code {status}"
        names = {one.value: one.name for one in signal.Signals}
        text = f"ended with signal {names.get(-status, -status)}"
        return f"{text} (the system kills for want of memory)" if status == -9 else text

    def kill(self) -> None:
        """Kill it and what it started, in other sessions too where there is a /proc.

        Whatever was started by it has the mark in its environment, unless that was cleared.
        """
        if sys.platform == "win32":
            self._popen.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        for _ in range(100):
            if not self._kill_marked():
                break
            time.sleep(0.01)

    def _kill_marked(self) -> int:
        """Kill the processes that have the mark; return the number of those that there were."""
        killed = 0
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if self._mark.encode() in environ.read_bytes():
                    os.kill(int(environ.parent.name), signal.SIGKILL)
                    killed += 1
        return killed


class _Output:
    """Reads a stream to its end in a thread, so that the process never waits to write."""

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
        return [line.strip() for line in printable if line.strip()]

    def _read(self) -> None:
        with self._stream as stream:
            while part := os.read(stream.fileno(), 2**16):
                self.written += len(part)
                self._end = (self._end + part)[-_TAIL:]
                if self.written > self.limit and not self.flooded:
                    self.flooded = True
                    self._kill()


def _apart(handle: int | None) -> dict[str, Any]:
    """Return what ``Popen`` takes so that a child inherits ``handle`` and leads a session."""
    if sys.platform == "win32":
        if handle is None:
            return {}
        os.set_handle_inheritable(handle, True)
        return {"startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})}
    return {"pass_fds": () if handle is None else (handle,), "start_new_session": True}
