"""Temporary files and folders, which the next run removes where a process died with them.

A process owns a name for as long as it holds the lock of the file NAME.lock. The system drops the
lock with the process, so that nothing is concluded from a process's number, which may be another's
by then, or that of a process on another machine.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from glob import escape
from importlib import import_module
from pathlib import Path
from typing import Any

_LOCK = ".lock"
_SYSTEM = "harness-"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a new, empty folder in the system's folder for them, for this user's eyes only."""
    root = Path(tempfile.gettempdir())
    _clear_once(root)
    with _owned(root, _SYSTEM) as path:
        path.mkdir(0o700)
        yield path


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Yield a path in the folder of ``target`` that nothing is at; remove what is there in the end.

    Before that, what dead processes left beside ``target`` is removed.
    """
    clear_beside(target)
    with _owned(target.parent, _start(target)) as path:
        yield path


def clear_beside(target: Path) -> None:
    """Remove what ``temporary_beside`` gave to processes that have died, where that is possible."""
    _clear(target.parent, _start(target))


def locks(descriptor: int) -> bool:
    """Lock an open file; return False where another one has it. OSError where there are no locks.

    The lock ends with the file.
    """
    try:
        import fcntl
    except ImportError:
        msvcrt: Any = import_module("msvcrt")
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(target: Path) -> str:
    return f".{target.name}-"


@contextmanager
def _owned(folder: Path, start: str) -> Iterator[Path]:
    """Yield a path that begins with ``start`` and that this process owns for the block."""
    path, lock = _take(folder, start)
    try:
        yield path
    finally:
        _remove(path)
        os.close(lock)
        with suppress(OSError):
            _lock_of(path).unlink()


def _take(folder: Path, start: str) -> tuple[Path, int]:
    """Return a path that this process owns, and the open file of its lock.

    Another process may clear the lock's file between its making and its locking. Where there are no
    locks, nobody clears.
    """
    while True:
        path = folder / f"{start}{secrets.token_hex(4)}"
        try:
            lock = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with suppress(OSError):
            if not locks(lock) or not _lock_of(path).exists():
                os.close(lock)
                continue
        return path, lock


@cache
def _clear_once(folder: Path) -> None:
    _clear(folder, _SYSTEM)


def _clear(folder: Path, start: str) -> None:
    named = re.compile(f"({re.escape(start)}[0-9a-f]{{8}}){re.escape(_LOCK)}")
    with suppress(OSError):
        for name in os.listdir(folder):
            if found := named.fullmatch(name):
                with suppress(OSError):
                    _clear_one(folder / found[1])


def _clear_one(path: Path) -> None:
    """Remove a path whose owner is dead, and then its lock's file; leave those of other users."""
    lock = os.open(_lock_of(path), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        own = not hasattr(os, "getuid") or os.fstat(lock).st_uid == os.getuid()
        dead = own and locks(lock)
        if dead:
            _remove(path)
    finally:
        os.close(lock)
    if dead and not path.exists():
        _lock_of(path).unlink()


def _remove(path: Path) -> None:
    """Remove, where that is possible, what is at ``path`` and at names that go on with ``-``."""
    for each in (path, *path.parent.glob(f"{escape(path.name)}-*")):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            with suppress(OSError):
                each.unlink()


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + _LOCK)
