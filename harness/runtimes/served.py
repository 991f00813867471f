"""Sessions in another process: a crash there is an error here, and nothing else is disturbed."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness.core.errors import LoadError, RunError, StageError
from harness.core.schema import Array, Arrays
from harness.processes.limits import UNLIMITED
from harness.processes.worker import LostError, Worker
from harness.runtimes import serve


class Server(Protocol):
    """A process that holds sessions by number; every answer may be a StageError."""

    @property
    def alive(self) -> bool: ...

    def load(self, path: str) -> int: ...

    def run(self, session: int, inputs: Arrays) -> list[tuple[str, Array]]: ...

    def evidence(self, session: int) -> dict[str, Any]: ...

    def forget(self, session: int) -> None: ...


class PythonServer:
    """The runtime that ``"module:attribute"`` names, in a child process.

    The child ends with this object; neither its time nor its memory is limited here.
    """

    def __init__(self, target: str, environment: Mapping[str, str]) -> None:
        self._target = target
        self._worker = Worker(UNLIMITED, environment)
        self._forgotten: list[int] = []
        weakref.finalize(self, self._worker.stop)

    @property
    def alive(self) -> bool:
        return self._worker.alive

    def load(self, path: str) -> int:
        number: int = self._ask(LoadError, serve.load, self._target, path)
        return number

    def run(self, session: int, inputs: Arrays) -> list[tuple[str, Array]]:
        outputs: list[tuple[str, Array]] = self._ask(RunError, serve.run, session, inputs)
        return outputs

    def evidence(self, session: int) -> dict[str, Any]:
        evidence: dict[str, Any] = self._ask(RunError, serve.evidence, session)
        return evidence

    def forget(self, session: int) -> None:
        """Close a session with the next call to the child."""
        self._forgotten.append(session)

    def _ask(self, failure: type[StageError], function: Callable[..., Any], *words: Any) -> Any:
        forgotten = [self._forgotten.pop() for _ in range(len(self._forgotten))]
        try:
            return self._worker.call(function, forgotten, *words)
        except LostError as lost:
            raise failure(f"the process that runs it {lost}", crashed=True) from None


class ServedSession:
    """One loaded model in a process that may hold others."""

    def __init__(self, server: Server, path: str) -> None:
        self._server = server
        self._number = server.load(os.path.abspath(path))
        weakref.finalize(self, server.forget, self._number).atexit = False

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Run one case; RunError where it fails or the process dies."""
        return self._server.run(self._number, inputs)

    def evidence(self) -> dict[str, Any]:
        """Return the evidence of the session there; nothing where the process is dead."""
        try:
            return self._server.evidence(self._number)
        except RunError:
            return {}


class Served:
    """A process for the sessions of one runtime, started for the first and replaced if it died."""

    def __init__(self, start: Callable[[], Server]) -> None:
        self._start = start
        self._server: Server | None = None

    def prepare(self, path: str) -> ServedSession:
        """Load a file in the process; LoadError where it cannot be, or the process dies of it."""
        if self._server is None or not self._server.alive:
            self._server = self._start()
        return ServedSession(self._server, path)


def in_child(target: str, environment: Mapping[str, str] | None = None) -> Served:
    """Return the runtime that ``"module:attribute"`` names, served by a child process."""
    return Served(lambda: PythonServer(target, environment or {}))
