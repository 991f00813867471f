"""How a command runs: its parser, its errors in one line, and how it ends.

Imports that take long are left to the command, which may be interrupted during them.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.commands import interrupts, streams

UNUSABLE = 2
UNEXPECTED = "a fault of the harness, please report it"
"""What is said of an error that is not the user's; exit code 1 would say that it is the model's."""
_OURS = Path(__file__).parents[2]
Main = Callable[[Sequence[str]], int]


class Parser(argparse.ArgumentParser):
    """Prints what is wrong in one line, without the usage, and ends with exit code 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        print(f"error: {message} (see --help)", file=sys.stderr)
        sys.exit(UNUSABLE)


class CommandParser(Parser):
    """The parser of one command: with whole examples, the exit codes and ``--version``.

    ``examples`` are arguments of the command. ``passes``, ``fails`` and ``nothing`` are the
    meanings of exit codes 0, 1 and 4; empty where the command has no such exit code.
    """

    def __init__(
        self,
        name: str,
        description: str,
        examples: Sequence[str],
        passes: str = "everything compared conforms, and something was compared",
        fails: str = "something does not conform",
        nothing: str = "nothing was compared",
    ) -> None:
        from harness import __version__
        from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, NOTHING_COMPARED, UNAVAILABLE

        codes = {
            CONFORMS: passes,
            DOES_NOT_CONFORM: fails,
            UNUSABLE: "the call or an input file is not usable",
            UNAVAILABLE: "a required runtime or framework is not available here",
            NOTHING_COMPARED: nothing,
            interrupts.INTERRUPTED: "interrupted",
        }
        calls = [f"  %(prog)s {example}".rstrip() for example in examples]
        ends = [f"  {code:<5}{meaning}" for code, meaning in codes.items() if meaning]
        super().__init__(
            prog=called(name),
            description=textwrap.fill(description, 90),
            epilog="\n".join(["examples:", *calls, "", "exit codes:", *ends]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        version = f"onnx-sequence-harness {__version__}"
        about = "show the version and exit"
        self.add_argument("--version", action="version", version=version, help=about)


def called(name: str = "") -> str:
    """Return how a command is called: by the console script where that runs, else by Python."""
    if Path(sys.argv[0]).stem == "harness":
        return f"harness {name}".rstrip()
    return f"python -m harness.{name}".rstrip(".")


def command(main: Main) -> NoReturn:
    """Run this process's command with its arguments, and exit."""
    interrupts.begin()
    sys.exit(ended(main))


def ended(main: Main, argv: Sequence[str] | None = None) -> int:
    """Run a command with ``argv``, else this process's arguments, and return its exit code.

    An error is one line on standard error. SIGTERM has the effect of Ctrl-C. That a reader of the
    output leaves changes nothing.
    """
    with streams.unheard() as heard:
        status = _ended(main, sys.argv[1:] if argv is None else argv)
        for stream in heard:
            stream.flush()
    failed = [stream.failed for stream in heard if stream.failed]
    if failed and sys.stderr:
        print(f"error: what was to be shown is not whole: {failed[0].strerror}", file=sys.stderr)
    return status or UNUSABLE if failed else status


def _ended(main: Main, argv: Sequence[str]) -> int:
    from harness.core.errors import HarnessError, NonconformanceError, one_line
    from harness.core.names import visible

    before = interrupts.heed(interrupts.stop)
    try:
        try:
            status = main(argv)
        finally:
            interrupts.restore(before)
        return interrupts.end() if interrupts.heard() else status
    except HarnessError as error:
        lines = str(error).split("\n") if isinstance(error, NonconformanceError) else [str(error)]
        print("error:", "\n".join(map(visible, lines)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return interrupts.end()
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: {visible(message)}", file=sys.stderr)
        return UNUSABLE
    except MemoryError:
        print("error: out of memory", file=sys.stderr)
        return UNUSABLE
    except Exception as error:
        print(f"error: {UNEXPECTED}: {one_line(error)} ({_place(error)})", file=sys.stderr)
        return UNUSABLE


def _place(error: Exception) -> str:
    """Return the file and the line of our own code in which an error was raised last."""
    traced = traceback.extract_tb(error.__traceback__)
    ours = [entry for entry in traced if Path(entry.filename).is_relative_to(_OURS)] or traced[-1:]
    return ", ".join(f"{Path(entry.filename).name}:{entry.lineno}" for entry in ours[-1:])
