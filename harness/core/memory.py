"""Memory that a process has freed, and that its allocator keeps."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give the system what the C library holds of freed memory, where that is glibc.

    It keeps what lies below a block in use, such as weights and outputs of many runs.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
