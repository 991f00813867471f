"""Whether a process is gone."""

import time
from contextlib import suppress
from pathlib import Path


def runs(pid):
    """Whether a process runs; one that has ended and nobody has waited for does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def ends(pid, seconds=300):
    """Whether a process ends soon."""
    deadline = time.monotonic() + seconds
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not runs(pid)
