"""Files and folders that are replaced at once, and locks between processes."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.temporary import temporary_beside

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def check_writable(folder: Path) -> None:
    """Raise UsageError where ``folder`` cannot be made or replaced; nothing is left behind."""
    if os.path.ismount(folder):
        raise UsageError(f"{folder} is a mount point, which cannot be replaced; name one inside it")
    parent = next(place for place in folder.absolute().parents if place.exists())
    try:
        with temporary_beside(parent / folder.name) as new:
            new.mkdir()
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from None


def check_folder(folder: Path) -> None:
    """Raise UsageError where no file can be put in ``folder``, which may have to be made first.

    Nothing is left behind, and nothing is written beside the folder.
    """
    absent = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary_beside(folder / "new") as part:
            part.touch()
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to: {error.strerror}") from None
    finally:
        for place in absent:
            with suppress(OSError):
                place.rmdir()


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new, empty folder that replaces ``folder`` when the block ends without error.

    Where the system can exchange two names in one step (Linux), it does; elsewhere the old folder
    is moved aside first. Of several processes that put the same folder the last one wins. What
    earlier processes left beside it when they died is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_beside(folder) as new:
        new.mkdir()
        new.chmod(0o755)
        yield new
        _put(new, folder)


def _put(new: Path, folder: Path) -> None:
    """Rename ``new`` to ``folder``, a name that another process may take or free meanwhile.

    The old folder is at ``new`` then, or at a name that begins as that one.
    """
    number = 0
    while not (_renamed(new, folder) or _exchange(new, folder)):
        with suppress(FileNotFoundError):
            folder.rename(new.with_name(f"{new.name}-old{number}"))
            number += 1


def _renamed(new: Path, folder: Path) -> bool:
    """Rename a folder; return False where the name is taken."""
    try:
        new.rename(folder)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        return False
    return True


def _exchange(a: Path, b: Path) -> bool:
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # TypeError on Windows, which wants a name
        return False
    arguments = (_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE)
    return bool(renameat2(*arguments) == 0)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make ``folder`` and keep other processes from locking it for the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        _lock(file.fileno())
        yield


def _lock(descriptor: int) -> None:
    """Wait for the lock of an open file, which ends when the file is closed."""
    try:
        import fcntl
    except ImportError:
        _lock_on_windows(descriptor)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _lock_on_windows(descriptor: int) -> None:
    msvcrt: Any = import_module("msvcrt")
    while True:
        with suppress(OSError):  # locking() gives up after ten seconds
            msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            return


def written(path: Path, data: bytes | Iterable[bytes]) -> Path:
    """Write ``data``, which may come in parts, to ``path``, whose folder is made; return ``path``.

    OSError, which names ``path``, where it cannot be written; nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary_beside(path) as part:
            with part.open("wb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
            part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return path
