"""Cells in which an earlier run's process died: they run in a child until they end in one.

A run keeps a file with the name of the cell that it judges in its own process. Where that process
is gone, it died in that cell.
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
    """The records in ``folder``; none where it cannot be written."""

    folder: Path

    def cells(self) -> set[str]:
        """Return the names of the cells in which a process died and that have not ended since."""
        for path in self.folder.glob(f"{RUNNING}*"):
            if not _alive(path.name.removeprefix(RUNNING)):
                with suppress(OSError):
                    cell = _text(path)
                    path.replace(self._died(cell)) if cell else path.unlink()
        cells = set()
        for path in self.folder.glob(f"{DIED}*"):
            with suppress(OSError):
                cells.add(_text(path))
        return cells

    @contextmanager
    def watched(self, cell: str) -> Iterator[None]:
        """Keep a record of a cell while it is judged in this process."""
        path = self.folder / f"{RUNNING}{os.getpid()}"
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_bytes(cell))
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()

    def forget(self, cell: str) -> None:
        """Drop the record of a cell that has ended without the death of a process."""
        with suppress(OSError):
            self._died(cell).unlink()

    def _died(self, cell: str) -> Path:
        return self.folder / f"{DIED}{hashlib.sha256(_bytes(cell)).hexdigest()[:16]}"


def _bytes(cell: str) -> bytes:
    """Return a name for a file, whatever the locale; a path in it need not be UTF-8."""
    return cell.encode("utf-8", "surrogateescape")


def _text(path: Path) -> str:
    """Return a name as it was written."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


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
