"""Sessions in another process: a crash there is an error here, and nothing else is disturbed."""

from __future__ import annotations

import os
import subprocess
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from signal import Signals
from typing import Any, cast

from harness.core.errors import LoadError, RunError, StageError, clipped
from harness.core.schema import Array, Arrays
from harness.runtimes import frames

OUTPUT = 16 * 2**20
"""Bytes that a child may write to standard error for one question; over that it is killed."""
_TAIL = 4096
_GRACE = 5.0


class Words:
    """What a child writes to standard error: its end, and how much since the last question."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.written = 0
        self.flooded = False
        self._said = b""
        self._child = child
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def last(self) -> str:
        """The last three lines that are not empty, as one, once there will be no more."""
        self._thread.join(_GRACE)
        text = self._said.decode(errors="replace")
        return " ".join([line.strip() for line in text.splitlines() if line.strip()][-3:])

    def _listen(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as stream:
            while part := os.read(stream.fileno(), 2**16):
                self.written += len(part)
                self._said = (self._said + part)[-_TAIL:]
                if self.written > OUTPUT:
                    self.flooded = True
                    self._child.kill()


class Process:
    """A child that answers each frame by one; it ends with its standard input, or is killed."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self._words = Words(self._child)
        self.closed: list[int] = []
        """Sessions that nobody holds any more; the child hears of them with the next question."""
        self._stop = weakref.finalize(self, _kill, self._child)

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def ask(
        self, failure: type[StageError], question: Mapping[str, Any], tensors: frames.Tensors = ()
    ) -> tuple[frames.Header, list[tuple[str, Array]]]:
        """The answer to one question; ``failure`` where the child tells an error.

        Where the child dies, or answers what is no frame and is killed, the ``failure`` is a crash.
        """
        self._words.written = 0
        closed = [self.closed.pop() for _ in range(len(self.closed))]
        header = {**question, "close": closed}
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            frames.write(cast(Any, self._child.stdin), header, tensors)
            answer = frames.read(cast(Any, self._child.stdout))
        except TypeError as error:
            raise failure(str(error)) from None
        except (OSError, ValueError):
            answer = None
        except BaseException:
            self._stop()
            raise
        if answer is None:
            raise failure(self._last_words(), crashed=True)
        if "error" in answer[0]:
            raise failure(answer[0]["error"])
        return answer

    def _last_words(self) -> str:
        """How the child ended and the last three lines that it wrote to standard error."""
        try:
            status = self._child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._stop()
            return "the process that runs it sent no readable answer and was killed"
        ended = f"ended with {_ended(status)}"
        if self._words.flooded:
            ended = f"wrote over {OUTPUT:,} bytes of output and was killed"
        said = self._words.last()
        told = f"the process that runs it {ended}{': ' if said else ''}{said}"
        return clipped(told)


def _ended(status: int) -> str:
    """How a process ended, by its return code, negative for a signal."""
    if status >= 0:
        return f"exit code {status}"
    names = {one.value: one.name for one in Signals}
    return f"signal {names.get(-status, -status)}"


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
