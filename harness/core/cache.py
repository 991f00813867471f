"""A folder of the user's own, outside the current one, for programs that are built or installed."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.names import visible

NAME = "onnx-sequence-harness"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def place(name: str) -> Path:
    """Return the folder ``name`` of this user's cache, whether it exists or not.

    The cache is in ``XDG_CACHE_HOME`` or ``~/.cache``, on macOS in ``~/Library/Caches`` and on
    Windows in ``LOCALAPPDATA``. UsageError where none of them is known.
    """
    variable, parts = "XDG_CACHE_HOME", (".cache",)
    if sys.platform == "win32":
        variable, parts = "LOCALAPPDATA", ("AppData", "Local")
    elif sys.platform == "darwin":
        variable, parts = "", ("Library", "Caches")
    root = Path(os.environ.get(variable, ""))
    if not root.is_absolute():
        try:
            root = Path.home().joinpath(*parts)
        except RuntimeError as error:
            raise UsageError(f"no folder for a cache: {error}; set {variable or 'HOME'}") from None
    return root / NAME / name


def private_folder(name: str) -> Path:
    """Return ``place(name)``, made if it is missing; UsageError where ``check_private`` refuses."""
    folder = place(name)
    try:
        folder.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in (folder.parent, folder):
            one.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        reason = f"cannot be made: {error.strerror}; expected a folder of your own"
        raise UsageError(f"{visible(str(folder))} {reason}") from None
    check_private(folder)
    return folder


def check_private(folder: Path) -> None:
    """Raise UsageError where another user could put a file into a folder of the cache.

    The folder and the one around it belong to this user, are no links, and only this user may write
    to them; where any user may write to the cache itself, it is one in which each has only his own.
    """
    for one in (folder, folder.parent):
        if reason := _shared(one):
            raise UsageError(f"{visible(str(one))} {reason}; expected a folder of your own")
    root = folder.parent.parent
    mode = root.stat().st_mode
    if os.name == "posix" and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise UsageError(f"{visible(str(root))} may be written by others; expected one of your own")


def _shared(folder: Path) -> str:
    """Return why a folder is not one user's own; empty where it is."""
    try:
        status = folder.lstat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not stat.S_ISDIR(status.st_mode):
        return "is a link" if stat.S_ISLNK(status.st_mode) else "is no folder"
    if os.name != "posix":
        return ""
    if status.st_uid != os.getuid():
        return "belongs to another user"
    return "may be written by others" if status.st_mode & _OTHERS else ""
