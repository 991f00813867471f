"""What is asked of a runtime and of its sessions, which anyone may have written.

Whatever they raise, but for Ctrl-C, is told in one line, and so is an answer of another type than
``harness.core.schema`` says. What they print goes to standard error; what they write to the
descriptor of standard output itself does not.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np

from harness.core.errors import LoadError, RunError, StageError, crashed, one_line
from harness.core.schema import Array, Arrays, Runtime, Session


def reason(runtime: Runtime) -> str | None:
    """Why the runtime is not available here, in one line; None where it is."""
    try:
        with _asked(LoadError, "check() raised "):
            found = runtime.check()
    except LoadError as error:
        return str(error)
    if found is None:
        return None
    if isinstance(found, str) and found.strip():
        return " ".join(found.split()).encode(errors="backslashreplace").decode()
    return f"check() returned {_kind(found)}, expected None or a reason"


def version(runtime: Runtime) -> str:
    """The version of the library behind the runtime; empty where it is not told."""
    try:
        with _asked(LoadError):
            found = runtime.version()
    except StageError:
        return ""
    return found if isinstance(found, str) else ""


def prepared(runtime: Runtime, path: str) -> Session:
    """The session of a model; LoadError where there is none."""
    with _asked(LoadError):
        found = runtime.prepare(path)
    for method in ("run", "evidence"):
        if not callable(getattr(found, method, None)):
            raise LoadError(f"prepare() returned {_kind(found)}, which has no {method}()")
    return found


def outputs(session: Session, inputs: Arrays) -> list[tuple[str, Array]]:
    """The outputs of a run, in the machine's byte order; RunError where there are none."""
    with _asked(RunError):
        found = session.run(inputs)
    if not isinstance(found, list | tuple):
        raise _unlike(_kind(found))
    return [_output(one) for one in found]


def evidence(session: Session) -> dict[str, Any]:
    """What the session tells of itself, as JSON would give it back; RunError where it does not.

    NumPy's numbers and arrays become Python's; what is not finite, keys and other objects text.
    """
    with _asked(RunError, "evidence() raised "):
        found = session.evidence()
        plain: dict[str, Any] = json.loads(json.dumps(_plain(found)))
    if not isinstance(plain, dict):
        raise RunError(f"evidence() returned {_kind(found)}, expected a mapping")
    return plain


@contextmanager
def _asked(failure: type[StageError], told: str = "") -> Iterator[None]:
    """Raise ``failure`` for what is raised, ``told`` before it; without that a StageError stays."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, StageError) and not told:
            raise
        lost = crashed(error) or not isinstance(error, Exception)
        raise failure(told + one_line(error), lost) from error


def _output(one: Any) -> tuple[str, Array]:
    match one:
        case (str(name), np.ndarray() | np.generic() as value) if not hasattr(value, "mask"):
            array = np.asarray(value)
            native = array.dtype.isnative
            return name, array if native else array.astype(array.dtype.newbyteorder("="))
        case (str(name), value):
            raise _unlike(f"{_kind(value)} for output {name}")
        case (name, _):
            raise _unlike(f"{_kind(name)} for a name")
    raise _unlike(f"{_kind(one)} for a pair")


def _unlike(told: str) -> RunError:
    return RunError(f"expected a list of (name, array) pairs, got {told}")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    held = isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if held or value is None else str(value)


def _kind(value: Any) -> str:
    return type(value).__name__
