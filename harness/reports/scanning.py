"""JSON text in a file of any length: where its values lie, found without holding more than one.

What a value holds is not looked at here; ``harness.core.reading.parse_json`` refuses what is not
strict JSON.
"""

from __future__ import annotations

import os
import re
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.names import visible
from harness.core.reading import check_file, parse_json

VALUE_BYTES = 2**24
"""What one value that is held may have."""
LEVELS = 100
"""A report of reports holds what they do two levels deeper; what writes it goes down a stack."""
SMALL = 2**20
"""A file of so many bytes is held whole: a process may open a limited number of files."""
_CHUNK = 2**20
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_FLAT = rb'[^"\[\]{}]++|' + _STRING
_NEXT_BRACKET = re.compile(rb"(?:" + _FLAT + rb")*+([\[\]{}])", re.DOTALL)
_WHOLE_STRING = re.compile(_STRING, re.DOTALL)
_SCALAR = re.compile(rb'[^ \t\n\r,:"\[\]{}]++(?=[ \t\n\r,:"\[\]{}])')
_BLANKS = re.compile(rb"[ \t\n\r]*+")


def _nest(levels: int) -> bytes:
    """Return the pattern of an object or array with so many levels of others in it at most."""
    inner = rb"|" + _nest(levels - 1) if levels else b""
    return rb"[\[{](?:" + _FLAT + inner + rb")*+[\]}]"


_AS_IN_A_CASE = re.compile(_nest(3), re.DOTALL)
"""A case holds outputs, of which each holds indices."""


class Source:
    """A regular file of at most ``limit`` bytes, of which any part can be read again.

    It is read as long as this is kept, whatever becomes of its name; UsageError for no such file.
    """

    def __init__(self, path: Path, limit: int) -> None:
        check_file(path, limit)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._descriptor = os.open(path, flags)
        except OSError as error:
            raise UsageError(f"{visible(str(path))}: {error.strerror}") from None
        close = weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise UsageError(f"{visible(str(path))} was replaced while it was opened")
        self.path, self.size = path, status.st_size
        self._whole: bytes | None = None
        if self.size <= SMALL:
            self._whole = self.read(0, self.size)
            close()

    def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes; UsageError where the file has become shorter."""
        if self._whole is not None:
            return self._whole[start : start + size]
        os.lseek(self._descriptor, start, os.SEEK_SET)
        parts = []
        while size and (data := os.read(self._descriptor, size)):
            parts.append(data)
            size -= len(data)
        if size:
            raise self.changed()
        return b"".join(parts)

    def changed(self) -> UsageError:
        return UsageError(f"{visible(str(self.path))} was changed while it was read")


class Scanner:
    """Goes once through the values of a source; UsageError, with the place, at what is no JSON."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = b""
        self._at = 0
        self._base = 0

    @property
    def offset(self) -> int:
        """The place in the file of what comes next."""
        return self._base + self._at

    def peek(self) -> bytes:
        """Return the next byte that is not blank, and leave it; none at the end."""
        while True:
            match = _BLANKS.match(self._buffer, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._buffer) or not self._more():
                return self._buffer[self._at : self._at + 1]

    def value(self) -> bytes:
        """Return the text of the next value, which may have ``VALUE_BYTES``."""
        first = self.peek()
        size = self._nested() if first in (b"{", b"[") else self._plain(first)
        if size > VALUE_BYTES:
            raise self.too_large()
        text = self._buffer[self._at : self._at + size]
        self._at += size
        return text

    def members(self) -> Iterator[tuple[bytes, object]]:
        """Yield each key of the next object, as text and as it reads; its value is to be taken."""
        for _ in self._listed(b"{", b"}"):
            if self.peek() != b'"':
                raise self._wrong("a key in quotes")
            text = self.value()
            self._take(b":")
            yield text, parse_json(text, self._source.path)

    def elements(self) -> Iterator[int]:
        """Yield the number of each element of the next array, which is then to be taken."""
        return self._listed(b"[", b"]")

    def end(self) -> None:
        """Raise UsageError where anything more comes."""
        if self.peek():
            raise self._wrong("nothing more")

    def _listed(self, opening: bytes, closing: bytes) -> Iterator[int]:
        self._take(opening)
        number = 0
        while number or self.peek() != closing:
            yield number
            number += 1
            if self.peek() != b",":
                break
            self._take(b",")
        self._take(closing)

    def _take(self, byte: bytes) -> None:
        if self.peek() != byte:
            raise self._wrong(f"'{byte.decode()}'")
        self._at += 1

    def _nested(self) -> int:
        """Return the size of the object or array that begins here, by its brackets."""
        if match := _AS_IN_A_CASE.match(self._buffer, self._at):
            return match.end() - self._at
        size = depth = 0
        while True:
            match = _NEXT_BRACKET.match(self._buffer, self._at + size)
            if match is None:
                self._need_more()
                continue
            size = match.end() - self._at
            depth += 1 if match[1] in b"{[" else -1
            if depth > LEVELS:
                raise UsageError(
                    f"{visible(str(self._source.path))}: what is at byte {self.offset} is nested"
                    f" too deep: expected at most {LEVELS} levels"
                )
            if not depth:
                return size

    def _plain(self, first: bytes) -> int:
        """Return the size of the string, number or word that begins here."""
        pattern = _WHOLE_STRING if first == b'"' else _SCALAR
        while True:
            match = pattern.match(self._buffer, self._at)
            if match is not None:
                return match.end() - self._at
            if first in b",:]}":
                raise self._wrong("a value")
            self._need_more()

    def _need_more(self) -> None:
        if len(self._buffer) - self._at > VALUE_BYTES:
            raise self.too_large()
        if not self._more():
            raise UsageError(
                f"{visible(str(self._source.path))} is not JSON: it ends within what begins at byte"
                f" {self.offset}"
            )

    def _more(self) -> bool:
        """Hold more of the file, and no longer what was taken; return whether there is more."""
        start = self._base + len(self._buffer)
        data = self._source.read(start, min(_CHUNK, self._source.size - start))
        self._buffer = self._buffer[self._at :] + data
        self._base += self._at
        self._at = 0
        return bool(data)

    def _wrong(self, expected: str) -> UsageError:
        there = "the end" if self.offset >= self._source.size else f"byte {self.offset}"
        return UsageError(
            f"{visible(str(self._source.path))} is not JSON: expected {expected} at {there}"
        )

    def too_large(self) -> UsageError:
        return UsageError(
            f"{visible(str(self._source.path))}: what is at byte {self.offset} is too large:"
            f" expected at most {VALUE_BYTES:,} bytes"
        )
