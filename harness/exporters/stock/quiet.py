"""Stock exporters without their banners, and their errors as one line."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from harness.core.errors import flattened


@contextmanager
def silenced() -> Iterator[None]:
    """No warnings, log lines, prints or lines from C++ on standard error."""
    logged = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with (
            open(os.devnull, "w") as sink,
            warnings.catch_warnings(),
            redirect_stdout(sink),
            redirect_stderr(sink),
        ):
            warnings.simplefilter("ignore")
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        logging.disable(logged)


def root_cause(error: BaseException) -> str:
    """The error that ``error`` was raised from first, as one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return flattened(f"{type(error).__name__}: {error}")


def tensorflow_message(error: BaseException) -> str:
    """TensorFlow's message without the stack, the arguments and the colours that it carries."""
    text = str(error).partition("Arguments received by")[0]
    text = re.sub(r'File "[^"]*", line \d+, in .*\n.*\n', "", text)
    return flattened(text.removeprefix("in user code:")) or type(error).__name__
