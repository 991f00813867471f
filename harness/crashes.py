"""Which exceptions tell nothing of a model: a process was lost, or there was not enough memory."""

from __future__ import annotations

from harness.errors import StageError

OUT_OF_MEMORY = ("bad_alloc", "allocate memory", "out of memory")
"""What runtimes in C++ say, in lower case, where Python raises MemoryError"""


def crashed(error: BaseException) -> bool:
    """Whether what raised ``error`` was lost, or lacked memory."""
    if isinstance(error, StageError) and error.crashed:
        return True
    raised = any(isinstance(e, MemoryError) for e in (error, error.__cause__, error.__context__))
    return raised or any(words in str(error).lower() for words in OUT_OF_MEMORY)
