"""Stock exporters without lines from C++, and their errors as one line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness.core.errors import flattened
from harness.exporters.quiet import silenced


@contextmanager
def without_stderr() -> Iterator[None]:
    """Keep all that ``silenced`` does, and lines from C++ on standard error, off the terminal."""
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as sink, silenced():
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def root_cause(error: BaseException) -> str:
    """Return the first of the errors that ``error`` was raised from, as one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return flattened(f"{type(error).__name__}: {error}")


def tensorflow_message(error: BaseException) -> str:
    """Return TensorFlow's message without its stack, its arguments and its colours."""
    text = str(error).partition("Arguments received by")[0]
    text = re.sub(r'File "[^"]*", line \d+, in .*\n.*\n', "", text)
    return flattened(text.removeprefix("in user code:")) or type(error).__name__
