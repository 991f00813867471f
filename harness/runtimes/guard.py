"""A runtime that anyone may have written, held to what the harness expects of one.

Whatever it raises, but for Ctrl-C, is reported in one line, and so is a value of another type than
``harness.core.schema`` declares. What it prints goes to standard error; what it writes to the
descriptor of standard output itself does not.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any

import numpy as np

from harness.core.errors import HarnessError, LoadError, RunError, StageError, crashed, one_line
from harness.core.loader import Loader, by_harness
from harness.core.registry import resolve
from harness.core.schema import Array, Arrays, Session
from harness.core.tolerance import DEFAULT_ROW, Row
from harness.runtimes.settings import NONE, Settings

_METHODS = ("check", "version", "prepare")


class GuardedRuntime:
    """Any object with the methods of ``harness.core.schema.Runtime``; the rest has defaults.

    ``target`` is its ``"module:attribute"``: a pickle holds that, and loads it anew, with the
    ``settings`` of the command line.
    """

    def __init__(
        self, runtime: Any, name: str = "", target: str = "", settings: Settings = NONE
    ) -> None:
        self._runtime = runtime
        self._target, self._settings = target, settings
        self.name = name

    def __reduce__(self) -> Any:
        if not self._target:
            return GuardedRuntime, (self._runtime, self.name)
        return guarded, (self._target, self.name, self._settings)

    def check(self) -> str | None:
        """Return why the runtime is not available here, in one line; None where it is."""
        try:
            with _guard(LoadError, "check() raised "):
                reason = self._runtime.check()
        except LoadError as error:
            return str(error)
        if reason is None:
            return None
        if isinstance(reason, str) and reason.strip():
            return " ".join(reason.split()).encode(errors="backslashreplace").decode()
        return f"check() returned {_kind(reason)}, expected None or a reason"

    def version(self) -> str:
        """Return the version of the library behind the runtime; empty where it is unknown."""
        try:
            with _guard(LoadError):
                version = self._runtime.version()
        except StageError:
            return ""
        return version if isinstance(version, str) else ""

    def prepare(self, path: str) -> GuardedSession:
        """Return the session of a model; LoadError where there is none."""
        with _guard(LoadError):
            session = self._runtime.prepare(path)
        for method in ("run", "evidence"):
            if not callable(getattr(session, method, None)):
                raise LoadError(f"prepare() returned {_kind(session)}, which has no {method}()")
        return GuardedSession(session)

    def configured(self, **settings: Any) -> GuardedRuntime | None:
        """Return the runtime with other settings of ONNX Runtime; None where it has none.

        UsageError for a value that it cannot have.
        """
        configured = getattr(self._runtime, "configured", None)
        return None if configured is None else GuardedRuntime(configured(**settings), self.name)

    @property
    def framework(self) -> str | None:
        """The framework that the runtime is: it runs trained twins, given a golden's folder."""
        framework: str | None = getattr(self._runtime, "framework", None)
        return framework

    @property
    def row(self) -> Row:
        """How far it may err as it is configured."""
        return self.row_of(bool(getattr(self._runtime, "tf32", False)))

    def row_of(self, tf32: bool) -> Row:
        """Return how far it may err in float32, or where it computed in TF32."""
        row, reduced = (getattr(self._runtime, name, None) for name in ("row", "tf32_row"))
        if tf32 and isinstance(reduced, Row):
            return replace(reduced, name=f"{self.name}+tf32")
        return replace(row if isinstance(row, Row) else DEFAULT_ROW, name=self.name)

    @property
    def precise(self) -> str:
        """The name of the runtime that is the same in full precision; empty where this one is."""
        return str(getattr(self._runtime, "precise", ""))

    @property
    def distributions(self) -> tuple[str, ...]:
        """The distributions that it computes with."""
        return tuple(getattr(self._runtime, "distributions", ()))

    def loader(self, settings: Settings) -> Loader:
        """Return the code that runs a model in the same way in a script without the harness."""
        loader = getattr(self._runtime, "loader", None)
        result = None if loader is None else loader(settings)
        return result if isinstance(result, Loader) else by_harness(self.name)


class GuardedSession:
    """A session of a guarded runtime."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def values(self, inputs: Arrays) -> Any:
        """Return whatever a run gives, sequences and optional values included; else RunError."""
        with _guard(RunError):
            return self._session.run(inputs)

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Return the outputs, in the machine's byte order; RunError where there are none."""
        outputs = self.values(inputs)
        if not isinstance(outputs, list | tuple):
            raise _unlike(_kind(outputs))
        return [_output(output) for output in outputs]

    def evidence(self) -> dict[str, Any]:
        """Return the session's evidence as JSON would give it back; RunError where it has none.

        NumPy's numbers and arrays become Python's; what is not finite, keys and other objects text.
        """
        with _guard(RunError, "evidence() raised "):
            evidence = self._session.evidence()
            plain: dict[str, Any] = json.loads(json.dumps(_plain(evidence)))
        if not isinstance(plain, dict):
            raise RunError(f"evidence() returned {_kind(evidence)}, expected a mapping")
        return plain


class Unusable:
    """Stands for a runtime that cannot be imported: unavailable, with the reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def check(self) -> str:
        return self._reason

    def version(self) -> str:
        return ""

    def prepare(self, path: str) -> Session:
        raise LoadError(self._reason)


def guarded(target: str, name: str = "", settings: Settings = NONE) -> GuardedRuntime:
    """Return the runtime that ``"module:attribute"`` names, with settings of the command line.

    One that cannot be imported is unavailable and says why; what its import prints goes to standard
    error. UsageError where it cannot have the settings.
    """
    try:
        with redirect_stdout(sys.stderr):
            runtime = resolve(target)
            missing = [m for m in _METHODS if not callable(getattr(runtime, m, None))]
        if missing:
            runtime = Unusable(f"{target} is no runtime: it has no {missing[0]}()")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        runtime = Unusable(f"{target} cannot be imported: {one_line(error)}")
    return GuardedRuntime(settings.on(name, runtime), name, target, settings)


@contextmanager
def _guard(failure: type[StageError], words: str = "") -> Iterator[None]:
    """Raise ``failure`` for what is raised, ``words`` before it; without them a StageError stays.

    Its message is that of an error of the harness; of any other, the type and the message.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, StageError) and not words:
            raise
        lost = crashed(error) or not isinstance(error, Exception)
        own = isinstance(error, HarnessError) and not words
        text = str(error) if own else one_line(error)
        raise failure(words + text, lost) from error


def _output(output: Any) -> tuple[str, Array]:
    match output:
        case (str(name), np.ndarray() | np.generic() as value) if not hasattr(value, "mask"):
            array = np.asarray(value)
            native = array.dtype.isnative
            return name, array if native else array.astype(array.dtype.newbyteorder("="))
        case (str(name), value):
            raise _unlike(f"{_kind(value)} for output {name}")
        case (name, _):
            raise _unlike(f"{_kind(name)} for a name")
    raise _unlike(f"{_kind(output)} for a pair")


def _unlike(what: str) -> RunError:
    return RunError(f"expected a list of (name, array) pairs, got {what}")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(element) for name, element in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    scalar = isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if scalar or value is None else str(value)


def _kind(value: Any) -> str:
    return type(value).__name__
