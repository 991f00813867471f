"""What a child process may use, and how it holds itself to that."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from dataclasses import dataclass

GIB = 2**30
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Limits:
    """What a cell or an export may use: wall time in seconds, bytes of data in each process, bytes
    of output.

    ``seconds`` and ``memory`` are None where nobody asked for one: then it is half an hour, and
    half of the machine's memory.
    """

    seconds: float | None = None
    memory: int | None = None
    output: int = 16 * 2**20

    @property
    def time(self) -> float:
        return 1800.0 if self.seconds is None else self.seconds

    @property
    def data(self) -> int:
        here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return here // 2 if self.memory is None else self.memory

    @property
    def flags(self) -> str:
        """The flags, each after a space, that isolate a cell with these limits."""
        time = "" if self.seconds is None else f" --timeout {self.seconds:g}"
        memory = "" if self.memory is None else f" --memory-limit {self.memory / GIB:g}"
        return f" --isolate{time}{memory}"


def confine(memory: int) -> None:
    """Let this process have ``memory`` bytes of data, leave no core dump and end with its parent.

    The system kills it when the parent ends, however it ends, where it can do that (Linux).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for what, wanted in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_DATA, memory)):
        hard = resource.getrlimit(what)[1]
        within = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (within, hard))
