"""Standard streams that may fail: the work and its verdict stay.

A reader may leave, as ``head`` does: what is written then goes nowhere. So it does where a stream
cannot be written to, as on a full disk, but that is reported at the end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Unheard:
    """A text stream whose writes never raise; ``failed`` is the first error but a lost reader."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failed: OSError | None = None

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self._leave(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._leave(error)

    def _leave(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.failed = self.failed or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def unheard() -> Iterator[list[Unheard]]:
    """Make standard output and error ``Unheard`` streams, flushed at the end; yield those open.

    A standard descriptor that is closed leads nowhere, so that no other file gets its number. A
    character that the locale lacks is written escaped.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)
    os.close(number)
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = streams = [stream and Unheard(stream) for stream in before]
    try:
        yield [stream for stream in streams if stream]
    finally:
        for stream in streams:
            if stream:
                stream.flush()
        sys.stdout, sys.stderr = before
