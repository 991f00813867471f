"""What a child process may use, and how it holds itself to that."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass

GIB = 2**30
SECONDS = 1800.0
"""A call's time where none is asked for."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Limits:
    """What one call in a child may use: wall time in seconds, bytes of data, bytes of output.

    ``seconds`` and ``memory`` are None where nobody asked for one: then it is half an hour, and
    half of the machine's memory.
    """

    seconds: float | None = None
    memory: int | None = None
    output: int = 16 * 2**20

    @property
    def time(self) -> float:
        return SECONDS if self.seconds is None else self.seconds

    @property
    def data(self) -> int:
        return machine_memory() // 2 if self.memory is None else self.memory


UNLIMITED = Limits(math.inf, sys.maxsize)
"""Time and memory without a limit; output has one."""


def machine_memory() -> int:
    """Return the machine's memory in bytes, or more than any machine has where it is not known."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def not_kept() -> str:
    """Return which limit this platform cannot hold a process to; empty where it holds all."""
    return "" if sys.platform == "linux" else f"memory: {sys.platform} has no limit of data"


def confine(memory: int) -> None:
    """Let this process have ``memory`` bytes of data and leave no core dump, where that can be."""
    try:
        import resource
    except ImportError:
        return
    for kind, wanted in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_DATA, memory)):
        hard = resource.getrlimit(kind)[1]
        within = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (within, hard))


def end_with_parent() -> None:
    """Have the system kill this process when the thread that started it ends, however it ends.

    Linux alone can do that.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
