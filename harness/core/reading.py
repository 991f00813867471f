"""Files from others, read within bounds: regular files only, of a limited size, and strict JSON."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError, one_line
from harness.core.names import visible

JSON_BYTES = 2**29
"""More than a report of a million comparisons."""
TEXT_BYTES = 2**24
TENSOR_BYTES = 2**32
MODEL_BYTES = 2**31
"""What a protobuf message may have."""
_INTEGERS = 2**64
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_file(path: Path, limit: int) -> None:
    """Raise UsageError where ``path`` is no regular file of at most ``limit`` bytes.

    A pipe would wait for ever, and a device may never end.
    """
    try:
        _check(path, path.stat(), limit)
    except (OSError, ValueError) as error:
        raise UsageError(f"{visible(str(path))}: {_why(error)}") from None


def read_bytes(path: Path, limit: int) -> bytes:
    """Return what a regular file of at most ``limit`` bytes holds; else UsageError."""
    check_file(path, limit)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            _check(path, status, limit)
            data = file.read(status.st_size)  # a larger number would be allocated at once
    except (OSError, ValueError) as error:
        raise UsageError(f"{visible(str(path))}: {_why(error)}") from None
    return data


def read_inside(path: Path, folder: Path, limit: int) -> bytes:
    """Return what a file of a folder holds; UsageError also where a link leads out of it."""
    check_inside(path, folder)
    return read_bytes(path, limit)


def read_json(path: Path, limit: int = JSON_BYTES) -> Any:
    """Return what a JSON file holds.

    UsageError, in one line, where it cannot be read or is not strict JSON: UTF-8 whatever the
    locale, no NaN and no infinity, integers of at most 64 bits, no key twice in one object, no half
    of a surrogate pair, and no deeper than Python's stack.
    """
    return parse_json(read_bytes(path, limit), path)


def parse_json(data: bytes, path: Path) -> Any:
    """Return what JSON text holds, as ``read_json`` does; errors name ``path``."""
    try:
        value = json.loads(
            data.decode(),
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_unique,
        )
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError, MemoryError) as error:
        why = "a half of a surrogate pair" if isinstance(error, UnicodeEncodeError) else str(error)
        why = why or type(error).__name__
        raise UsageError(f"{visible(str(path))} is not JSON: {visible(why)}") from None
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds; UsageError, in one line, where it is none."""
    data = read_bytes(path, TEXT_BYTES)
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        why = visible(str(error) or type(error).__name__)
        raise UsageError(f"{visible(str(path))} is not usable TOML: {why}") from None


def check_inside(path: Path, folder: Path) -> None:
    """Raise UsageError where ``path`` is, by a link or by ``..``, a place outside ``folder``."""
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{visible(str(path))}: {one_line(error)}") from None
    if not inside:
        raise UsageError(
            f"{visible(str(path))} leads out of {visible(str(folder))}; expected a file in it"
        )


def _check(path: Path, status: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise UsageError(f"{visible(str(path))} is {kind}; expected a file")
    if status.st_size > limit:
        raise _large(path, limit)


def _large(path: Path, limit: int) -> UsageError:
    return UsageError(f"{visible(str(path))} is too large: expected at most {limit:,} bytes")


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is no number of JSON")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) > _INTEGERS:
        raise ValueError(f"{text[:20]}… is an integer of more than 64 bits")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} is there twice")
    return entries
