"""Sessions in another process: a crash there is an error here, and nothing is disturbed here."""

from __future__ import annotations

import os
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from signal import Signals
from typing import IO, Any, cast

from harness.errors import LoadError, RunError, StageError
from harness.runtimes import wire
from harness.schema import Array, Arrays

_TAIL = 4096


class Process:
    """A child that answers each frame by one; it ends with its standard input, or is killed.

    Its standard error is kept in a file without a name, for its last words.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **environment},
        )
        self.closed: list[int] = []
        """Sessions that nobody holds any more; the child hears of them with the next question."""
        self._stop = weakref.finalize(self, _kill, self._child)

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def ask(
        self, failure: type[StageError], question: Mapping[str, Any], tensors: wire.Tensors = ()
    ) -> tuple[wire.Header, list[tuple[str, Array]]]:
        """The answer to one question; ``failure`` where the child tells an error, or dies."""
        closed = [self.closed.pop() for _ in range(len(self.closed))]
        header = {**question, "close": closed}
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            wire.write(cast(Any, self._child.stdin), header, tensors)
            answer = wire.read(cast(Any, self._child.stdout))
        except TypeError as error:
            raise failure(str(error)) from None
        except (OSError, ValueError):
            answer = None
        except BaseException:
            self._stop()
            raise
        if answer is None:
            raise failure(self._last_words())
        if "error" in answer[0]:
            raise failure(answer[0]["error"])
        return answer

    def _last_words(self) -> str:
        """How the child ended and the last three lines that it wrote to standard error."""
        try:
            status = self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._stop()
            return "the process that runs it sent no readable answer and was killed"
        ended = f"signal {Signals(-status).name}" if status < 0 else f"exit code {status}"
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _TAIL))
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines()]
        said = " ".join([line for line in lines if line][-3:])
        told = f"the process that runs it ended with {ended}{': ' if said else ''}{said}"
        return told if len(told) <= 300 else told[:299] + "…"


def _kill(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


class ServedSession:
    """One loaded model in a process that may hold others."""

    def __init__(self, process: Process, path: str) -> None:
        self._process = process
        answer, _ = process.ask(LoadError, {"do": "load", "path": os.path.abspath(path)})
        self._number = int(answer["session"])
        weakref.finalize(self, process.closed.append, self._number).atexit = False

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Run one case; RunError where it fails or the process dies."""
        question = {"do": "run", "session": self._number}
        return self._process.ask(RunError, question, list(inputs.items()))[1]

    def evidence(self) -> dict[str, Any]:
        """What the runtime in the process says; nothing where the process is dead."""
        try:
            answer, _ = self._process.ask(RunError, {"do": "evidence", "session": self._number})
        except RunError:
            return {}
        return dict(answer["evidence"])


class Served:
    """A process for the sessions of one runtime, started for the first and replaced if it died."""

    def __init__(
        self, command: Callable[[], Sequence[str]], environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._environment = environment or {}
        self._process: Process | None = None

    def prepare(self, path: str) -> ServedSession:
        """Load a file in the process; LoadError where it cannot be, or the process dies of it."""
        if self._process is None or not self._process.alive:
            try:
                self._process = Process(self._command(), self._environment)
            except OSError as error:
                raise LoadError(f"{self._command()[0]}: {error.strerror}") from None
        return ServedSession(self._process, path)
