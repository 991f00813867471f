"""How a command runs: its parser, its errors in one line, and how it ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from harness.commands import interrupts, streams
from harness.core.errors import UNUSABLE, HarnessError


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage, and ends with exit code 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        print(f"error: {message} (see --help)", file=sys.stderr)
        sys.exit(UNUSABLE)


def ended(command: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a command; an error is one line on standard error and its exit code.

    A request to terminate (SIGTERM) is taken as Ctrl-C is. A reader of the output that leaves
    changes nothing.
    """
    with streams.unheard() as heard:
        status = _ended(command, argv)
        for stream in heard:
            stream.flush()
    failed = [stream.failed for stream in heard if stream.failed]
    if failed and sys.stderr:
        print(f"error: what was to be shown is not whole: {failed[0].strerror}", file=sys.stderr)
    return status or UNUSABLE if failed else status


def _ended(command: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None) -> int:
    before = interrupts.heed(interrupts.stop)
    try:
        try:
            status = command(argv)
        finally:
            interrupts.restore(before)
        return interrupts.end() if interrupts.heard() else status
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return interrupts.end()
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: {told}", file=sys.stderr)
        return UNUSABLE
