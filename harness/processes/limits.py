"""The limits of a child process, and how it sets them for itself."""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
SECONDS = 1800.0
"""A call's time where none is asked for."""


@dataclass(frozen=True)
class Limits:
    """What one call in a child may use: wall time in seconds, bytes of data, bytes of output.

    Where ``seconds`` is None it is half an hour; where ``memory`` is, half of the machine's. A call
    that sends no event and does not end for ``silence`` seconds hangs.
    """

    seconds: float | None = None
    memory: int | None = None
    output: int = 16 * 2**20
    silence: float | None = None

    @property
    def time(self) -> float:
        return SECONDS if self.seconds is None else self.seconds

    @property
    def data(self) -> int:
        return machine_memory() // 2 if self.memory is None else self.memory


SILENCE = 60.0
"""Seconds without a sign of life after which the process of a model from a file counts as hung."""
OF_A_FILE = Limits(silence=SILENCE)
"""The limits of a process that reads or runs a model from a file, whose author is not known."""
IN_FLOAT64 = Limits(silence=5 * SILENCE)
"""The limits of one that evaluates such a model in float64 NumPy, node by node."""
UNLIMITED = Limits(math.inf, sys.maxsize)
"""Time and memory without a limit; output has one."""


def machine_memory() -> int:
    """Return the machine's memory in bytes; ``sys.maxsize`` where it is not known."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def not_kept() -> str:
    """Return which limit this platform cannot set, and why; empty where it sets all."""
    return "" if sys.platform == "linux" else f"memory: {sys.platform} has no limit of data"


def data_in_use() -> int:
    """Return the bytes of data that this process has, as a limit counts them; 0 where unknown."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def confine(memory: int) -> None:
    """Limit this process to ``memory`` bytes of data and no core dump, where the platform can."""
    try:
        import resource
    except ImportError:
        return
    for kind, limit in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_DATA, memory)):
        hard = resource.getrlimit(kind)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (soft, hard))
