"""Zip archives from others, read within bounds: no entry outside the archive, no link, no bomb."""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, LargeZipFile, ZipFile, ZipInfo

from harness.core.errors import UsageError
from harness.core.names import visible
from harness.core.reading import check_file

BYTES = 2**33
"""What an archive's entries may have together, unpacked."""
_BROKEN = (
    BadZipFile,
    LargeZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    MemoryError,
    zlib.error,
)
"""What ``zipfile`` raises for an archive that is malformed, encrypted or packed in another way."""


@contextmanager
def opened(path: Path, what: str) -> Iterator[ZipFile]:
    """Yield a zip archive, whose entries are checked; UsageError where it is none of ``what``.

    Every entry is named once, by a path inside the archive, and is no link; together they have at
    most ``BYTES``.
    """
    check_file(path, BYTES)
    try:
        archive = ZipFile(path)
    except _BROKEN as error:
        raise UsageError(f"{visible(str(path))} is no readable {what}: {_why(error)}") from None
    with archive:
        _check(path, archive.infolist())
        yield archive


def entry(archive: ZipFile, name: str) -> bytes:
    """Return what an entry holds; UsageError where it is missing or broken."""
    try:
        return archive.read(name)
    except _BROKEN as error:
        place = visible(f"{archive.filename}: {name}")
        raise UsageError(f"{place} cannot be read: {_why(error)}") from None


def _check(path: Path, entries: list[ZipInfo]) -> None:
    seen: set[str] = set()
    for info in entries:
        place = visible(f"{path}: entry {info.filename!r}")
        parts = info.filename.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or ":" in parts[0]:
            raise UsageError(f"{place} leads out of the archive; expected a path inside it")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UsageError(f"{place} is a link; expected a file")
        if info.filename in seen:
            raise UsageError(f"{place} is there twice; expected every name once")
        seen.add(info.filename)
    if (total := sum(info.file_size for info in entries)) > BYTES:
        raise UsageError(
            f"{visible(str(path))} unpacks to {total:,} bytes; expected at most {BYTES:,}"
        )


def _why(error: BaseException) -> str:
    return visible(str(error) or type(error).__name__)
