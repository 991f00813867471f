"""Cells in which an earlier run's process died: they run in a child until they end in one.

A run keeps a file with the name of the cell that it judges in its own process. One whose process is
gone tells in which cell it died.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

RUNNING, DIED = "running-", "died-"


@dataclass(frozen=True)
class Deaths:
    """What is known of them in ``folder``. Where it cannot be written, nothing is."""

    folder: Path

    def seen(self) -> set[str]:
        """The names of the cells in which a process died and that have not ended since."""
        for path in self.folder.glob(f"{RUNNING}*"):
            if not _alive(path.name.removeprefix(RUNNING)):
                with suppress(OSError):
                    cell = _text(path)
                    path.replace(self._died(cell)) if cell else path.unlink()
        found = set()
        for path in self.folder.glob(f"{DIED}*"):
            with suppress(OSError):
                found.add(_text(path))
        return found

    @contextmanager
    def watched(self, cell: str) -> Iterator[None]:
        """While a cell is judged in this process."""
        path = self.folder / f"{RUNNING}{os.getpid()}"
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.fsencode(cell))
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()

    def forget(self, cell: str) -> None:
        """The cell has ended without the death of a process."""
        with suppress(OSError):
            self._died(cell).unlink()

    def _died(self, cell: str) -> Path:
        return self.folder / f"{DIED}{hashlib.sha256(os.fsencode(cell)).hexdigest()[:16]}"


def _text(path: Path) -> str:
    """A name as it was written; a path in it need not be UTF-8."""
    return os.fsdecode(path.read_bytes())


def _alive(process: str) -> bool:
    """Return whether a process of this number runs; on Windows that is not known here."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(int(process), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True
