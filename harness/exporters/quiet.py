"""Exporters without their banners, and what tf2onnx only logs."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def silenced() -> Iterator[None]:
    """Keep warnings, log lines and prints of Python off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


class _Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def tf2onnx_errors() -> Iterator[list[str]]:
    """Yield a list that collects what tf2onnx logs as an error, after which it goes on."""
    import tf2onnx  # noqa: F401  # its first import sets the level of its logger

    log, errors = logging.getLogger("tf2onnx"), _Messages()
    level, propagate = log.level, log.propagate
    log.addHandler(errors)
    log.propagate = False
    log.setLevel(logging.ERROR)
    try:
        yield errors.messages
    finally:
        log.removeHandler(errors)
        log.propagate = propagate
        log.setLevel(level)
