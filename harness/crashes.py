"""Which exceptions tell nothing of a model: a process was lost, or the machine lacked something."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import StageError

OUT_OF_MEMORY = ("bad_alloc", "allocate memory", "out of memory")
"""What runtimes in C++ say, in lower case, where Python raises MemoryError"""


def crashed(error: BaseException) -> bool:
    """Whether what raised ``error`` was lost, or lacked memory."""
    if isinstance(error, StageError) and error.crashed:
        return True
    raised = any(isinstance(e, MemoryError) for e in (error, error.__cause__, error.__context__))
    return raised or any(words in str(error).lower() for words in OUT_OF_MEMORY)


def passing(error: BaseException) -> bool:
    """Whether ``error`` may be gone the next time: a crash, or a file that the system refused.

    A full disk is told by an OSError with a number, which may be what another error comes from.
    """
    return crashed(error) or any(isinstance(e, OSError) and e.errno for e in _behind(error))


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, then what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
