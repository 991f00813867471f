"""A child that is forked from this process: what is imported here need not be imported there."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from harness.processes import lifeline

_NOT_FORKED = ("torch", "tensorflow", "jax")
"""Libraries whose threads and locks a fork breaks."""
_FIRST_LOOK, _LATER_LOOK = 0.0005, 0.05


def available() -> bool:
    """Return whether a fork of this process is sound: Linux, no CUDA, none of ``_NOT_FORKED``.

    The standard streams must be open, too: else other descriptors have their numbers.
    """
    if sys.platform != "linux" or any(name in sys.modules for name in _NOT_FORKED):
        return False
    try:
        for number in range(3):
            os.fstat(number)
        return b"libcuda.so" not in Path("/proc/self/maps").read_bytes()
    except OSError:
        return False


class Forked:
    """What ``subprocess.Popen`` is to a command, to ``run()`` in a fork of this process.

    The fork leads a session, is tied to ``line``, and has a marked environment, signals as a new
    process has them, and ``stdout`` as its output. Of this process's other descriptors it has only
    ``handle``: the rest lead nowhere there, so that it holds no lock and no pipe. It ends without
    the handlers of ``atexit``.
    """

    def __init__(
        self,
        run: Callable[[], object],
        handle: int,
        line: int,
        mark: str,
        environment: Mapping[str, str],
    ) -> None:
        self.returncode: int | None = None
        self._reaping = threading.Lock()
        ours, theirs = os.pipe()
        self.stdout, self.stderr, self.stdin = os.fdopen(ours, "rb", 0), None, None
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self.pid = os.fork()
            if not self.pid:
                _live(run, handle, line, theirs, {**environment, mark: "1"}, mark)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(theirs)

    def poll(self) -> int | None:
        """Return how it ended, as ``Popen.poll``; None while it runs."""
        with self._reaping:
            if self.returncode is None:
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:
                    pid, status = self.pid, 0
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended, as ``Popen.wait``; TimeoutExpired where it still runs."""
        begun, pause = time.monotonic(), _FIRST_LOOK
        while (status := self.poll()) is None:
            if timeout is not None and time.monotonic() - begun > timeout:
                raise subprocess.TimeoutExpired("fork", timeout)
            time.sleep(pause)
            pause = min(2 * pause, _LATER_LOOK)
        return status

    def kill(self) -> None:
        with self._reaping:
            if self.returncode is None:
                os.kill(self.pid, signal.SIGKILL)


def _live(
    run: Callable[[], object],
    handle: int,
    line: int,
    output: int,
    environment: Mapping[str, str],
    mark: str,
) -> NoReturn:
    """Run and end, in the fork; garbage of the process before it is not finalised here."""
    status = 1
    try:
        gc.freeze()
        os.setsid()
        lifeline.join(line)
        _own_streams(output, (handle, line))
        _usual_signals()
        os.memfd_create(mark, 0)
        os.environ.update(environment)
        run()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(status & 0xFF)


def _own_streams(output: int, kept: Iterable[int]) -> None:
    """Make the standard streams anew; have every descriptor that is not ``kept`` lead nowhere.

    They stay taken, so that an object which closes its own closes no other's.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number, source in enumerate((nowhere, output, output)):
        os.dup2(source, number)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number not in {*kept, nowhere}:
            os.dup2(nowhere, number, inheritable=False)
    sys.stdin = sys.__stdin__ = os.fdopen(0, "r", closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)  # type: ignore[misc]
    err = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    sys.stderr = sys.__stderr__ = err  # type: ignore[misc]


def _usual_signals() -> None:
    faulthandler.disable()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
