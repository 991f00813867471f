"""Sessions that a child process holds for ``harness.runtimes.served``, by number."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from harness.core.schema import Array, Arrays, Session
from harness.runtimes.guard import guarded

_SESSIONS: dict[int, Session] = {}
_NUMBERS = count()


def load(emit: object, forgotten: Iterable[int], target: str, path: str) -> int:
    """Load a file in the runtime that ``target`` names; return the session's number."""
    _forget(forgotten)
    number = next(_NUMBERS)
    _SESSIONS[number] = guarded(target).prepare(path)
    return number


def run(
    emit: object, forgotten: Iterable[int], session: int, inputs: Arrays
) -> list[tuple[str, Array]]:
    """Run one case."""
    _forget(forgotten)
    return _SESSIONS[session].run(inputs)


def evidence(emit: object, forgotten: Iterable[int], session: int) -> dict[str, Any]:
    """Return where and how a session ran."""
    _forget(forgotten)
    return _SESSIONS[session].evidence()


def _forget(sessions: Iterable[int]) -> None:
    for session in sessions:
        _SESSIONS.pop(session, None)
