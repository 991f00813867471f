"""Where in a user's code something happened: the file, the line and what stands there."""

from __future__ import annotations

import inspect
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from traceback import walk_tb

from harness.core.errors import clipped
from harness.core.names import visible

FRAMEWORKS = ("torch", "onnxscript", "onnx_ir", "keras", "tensorflow", "tf2onnx", "numpy", "sympy")
_HARNESS = str(Path(__file__).parents[1])
_STANDARD = sysconfig.get_paths()["stdlib"]
_PACKAGES = ("site-packages", "dist-packages")
MOST_CODE = 60

Frame = tuple[str, int]
"""A file and a line."""


def of_frames(frames: Iterable[Frame]) -> str:
    """Return the first place in a user's code, such as ``net.py:7 ('y = x')``; empty without.

    A package that is installed counts where there is no other.
    """
    own = _frameworks()
    found = [(file, line) for file, line in frames if is_users(file, own)]
    if not found:
        return ""
    file, line = next((f for f in found if not _is_installed(f[0])), found[0])
    code = clipped(visible(linecache.getline(file, line).strip()), MOST_CODE)
    return f"{_shown(file)}:{line}" + (f" ('{code}')" if code else "")


def of_error(error: BaseException | None) -> str:
    """Return the innermost place in a user's code on the stack of an error or of its causes."""
    for cause in chain(error):
        frames = [(f.f_code.co_filename, line) for f, line in walk_tb(cause.__traceback__)]
        if place := of_frames(reversed(frames)):
            return place
    return ""


def of_class(kind: type) -> str:
    """Return the place where a class of a user's is defined; empty for another."""
    try:
        file = inspect.getsourcefile(kind) or ""
        lines, first = inspect.getsourcelines(kind)
    except (OSError, TypeError):
        return ""
    decorators = next((n for n, text in enumerate(lines) if text.lstrip().startswith("class ")), 0)
    return of_frames([(file, first + decorators)])


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def at(place: str) -> str:
    """Return a place as the end of a sentence; empty where there is none."""
    return f" at {place}" if place else ""


def is_users(file: str, frameworks: Iterable[str]) -> bool:
    """Return whether a file is neither a framework's, nor Python's, nor of the harness."""
    if file.startswith("<") or not os.path.exists(file):
        return False
    if any(_within(file, folder) for folder in (_HARNESS, *frameworks)):
        return False
    return not _within(file, _STANDARD) or _is_installed(file)


def _is_installed(file: str) -> bool:
    return any(f"{os.sep}{part}{os.sep}" in file for part in _PACKAGES)


def _frameworks() -> list[str]:
    loaded = (getattr(sys.modules.get(name), "__file__", None) for name in FRAMEWORKS)
    return [str(Path(file).parent) for file in loaded if file]


def _within(file: str, folder: str) -> bool:
    return file.startswith(folder + os.sep)


def _shown(file: str) -> str:
    """Return a file as seen from the working directory, else its name alone."""
    path, here = Path(file), Path.cwd()
    return visible(str(path.relative_to(here)) if path.is_relative_to(here) else path.name)
