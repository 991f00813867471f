"""The errors of the harness, one class for each stage, and the exit code that each calls for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from harness.core.schema import Stage

CONFORMS = 0
DOES_NOT_CONFORM = 1
UNUSABLE = 2
UNAVAILABLE = 3
NOTHING_COMPARED = 4
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class HarnessError(Exception):
    """A failure with a one-line message; ``exit_code`` is what the command ends with."""

    exit_code = UNUSABLE


class UsageError(HarnessError):
    """The call or an input file is not usable."""


class GoldenError(HarnessError):
    """A golden is missing, corrupt, or not worth recording."""


class NothingSelectedError(HarnessError):
    """The selection is empty: nothing would be compared."""

    exit_code = NOTHING_COMPARED


class NonconformanceError(HarnessError):
    """Something does not conform; the message has a line for each cell, or the console's table."""

    exit_code = DOES_NOT_CONFORM


class UnavailableError(HarnessError):
    """A runtime or a framework that was asked for is not available here."""

    exit_code = UNAVAILABLE


class StageError(HarnessError):
    """A cell failed at a stage; becomes a result, not an exit.

    Where it ``crashed`` a process was lost: the result is an ``error``, whatever is expected.
    """

    exit_code = DOES_NOT_CONFORM
    stage = Stage.EXPORT
    baking: tuple[str, ...] = ()
    """The exporters that would export the model and leave out silently what it does elsewhere."""

    def __init__(self, message: str, crashed: bool = False) -> None:
        super().__init__(message)
        self.crashed = crashed


class ExportError(StageError):
    stage = Stage.EXPORT


class CheckError(StageError):
    stage = Stage.CHECK


class LoadError(StageError):
    stage = Stage.LOAD


class RunError(StageError):
    stage = Stage.RUN


def check_input_names(given: Iterable[str], expected: Iterable[str], taker: str = "model") -> None:
    """Raise RunError, which lists both, where other inputs are given than the ``taker`` takes."""
    if set(given) != set(expected):
        raise RunError(
            f"inputs given: {', '.join(sorted(given)) or 'none'}; "
            f"the {taker} takes: {', '.join(sorted(expected)) or 'none'}"
        )


def unknown(kind: str, name: str, choices: Iterable[str]) -> UsageError:
    """Return the error for a name that is not one of ``choices``, which it lists."""
    names = sorted(choices)
    near = get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return UsageError(f"unknown {kind} {name!r}{hint}; choose from: {', '.join(names)}")


def one_line(error: BaseException, limit: int = 300) -> str:
    """Return an exception as one line: its type and its first non-empty line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return clipped(text.encode(errors="backslashreplace").decode(), limit)


def flattened(text: str, limit: int = 300) -> str:
    """Return ``text`` as one line without colours, cut to ``limit`` characters."""
    return clipped(" ".join(_COLOUR.sub("", text).split()), limit)


def clipped(text: str, limit: int = 300) -> str:
    """Return ``text`` cut to ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


OUT_OF_MEMORY = ("bad_alloc", "allocate memory", "out of memory")
"""What runtimes in C++ say, in lower case, where Python raises MemoryError."""


def crashed(error: BaseException) -> bool:
    """Return whether a process was lost, or memory ran out."""
    if isinstance(error, StageError) and error.crashed:
        return True
    raised = any(isinstance(e, MemoryError) for e in (error, error.__cause__, error.__context__))
    return raised or any(words in str(error).lower() for words in OUT_OF_MEMORY)


def passing(error: BaseException) -> bool:
    """Return whether ``error`` may be gone the next time: a crash, or a file the system refused.

    A full disk raises an OSError with a number, which may be the cause of another error.
    """
    return crashed(error) or any(isinstance(e, OSError) and e.errno for e in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, then what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
