"""A runtime at another version of its distribution, for ``--with``.

It is named ``ort-cpu@1.26.0``, lies in a folder of its own and runs in a process that has that
folder before all others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from packaging.version import InvalidVersion, Version

from harness import runtimes
from harness.core.errors import LoadError, UsageError
from harness.core.schema import Arrays, Session
from harness.core.tolerance import Row
from harness.core.versioned import AT, SAME
from harness.runtimes import installing
from harness.runtimes.guard import GuardedRuntime
from harness.runtimes.settings import NONE, Settings

RUNTIMES = {"onnxruntime": "ort-cpu", "openvino": "openvino", "tract": "tract"}
"""The distributions of which versions can be had, each with the runtime that it is."""
OLDEST = {"onnxruntime": Version("1.24.1")}
"""The oldest that the harness can ask where it placed each node."""
_WHEEL = re.compile(r"([A-Za-z0-9_.]+)-([A-Za-z0-9_.!+]+)(-\d\w*)?-[^-]+-[^-]+-[^-]+\.whl")


@dataclass(frozen=True)
class Wanted:
    """One version of a distribution, from a package index or from a ``wheel``."""

    distribution: str
    version: Version
    wheel: Path | None = None


def flags(runtime: str) -> list[str]:
    """Return the flags of ``validate`` that select a runtime, at whatever version it is named."""
    name, at, version = runtime.partition(AT)
    distribution = {runtime: name for name, runtime in RUNTIMES.items()}.get(name)
    if not at or distribution is None:
        return ["--runtime", runtime]
    return ["--with", f"{distribution}=={version}"]


def parse(texts: Iterable[str]) -> list[Wanted]:
    """Return what ``onnxruntime==1.24.1,1.26.0`` and paths of wheels name, in order and once.

    UsageError for another distribution, for no version, and for one that is too old.
    """
    wanted = dict.fromkeys(one for text in texts for one in _parsed(text))
    for one in wanted:
        oldest = OLDEST.get(one.distribution)
        if oldest and one.version < oldest:
            raise UsageError(
                f"--with {one.distribution}=={one.version}: expected {oldest} or later, which tells"
                " where it placed each node"
            )
    return list(wanted)


def _parsed(text: str) -> Iterator[Wanted]:
    distribution = ""
    for item in (part.strip() for part in text.split(",")):
        if item.endswith(".whl"):
            yield _of_wheel(Path(item))
            continue
        name, equals, version = item.partition("==")
        distribution = _normal(name) if equals else distribution
        _check(distribution, item)
        try:
            yield Wanted(distribution, Version(version if equals else item))
        except InvalidVersion:
            raise UsageError(
                f"--with {item!r}: expected DISTRIBUTION==VERSION,VERSION, such as"
                " onnxruntime==1.24.1,1.26.0, or the path of a wheel"
            ) from None


def _of_wheel(path: Path) -> Wanted:
    match = _WHEEL.fullmatch(path.name)
    if match is None or not path.is_file():
        what = "no such file" if match else "its name is not that of a wheel"
        raise UsageError(f"--with {path}: {what}")
    distribution = _normal(match[1])
    _check(distribution, str(path))
    return Wanted(distribution, Version(match[2]), path)


def _check(distribution: str, item: str) -> None:
    if distribution not in RUNTIMES:
        names = ", ".join(RUNTIMES)
        what = f"{distribution} is no runtime" if distribution else "no distribution"
        raise UsageError(f"--with {item!r}: {what}; expected ==VERSION of one of {names}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def load(wanted: Wanted, settings: Settings = NONE) -> AtVersion:
    """Return the runtime at this version, installed if need be; UsageError where it cannot be."""
    place = installing.folder(wanted.distribution, str(wanted.version), wanted.wheel)
    return AtVersion(wanted, place, runtimes.load(RUNTIMES[wanted.distribution], settings))


@dataclass(frozen=True)
class AtVersion:
    """A runtime whose distribution lies in ``folder``, which a process of its own has first."""

    wanted: Wanted
    folder: Path
    runtime: GuardedRuntime
    framework: str | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return f"{self.runtime.name}{AT}{self.wanted.version}"

    @property
    def import_path(self) -> Sequence[str]:
        """What the process that runs it has on its ``sys.path`` before all else."""
        return [str(self.folder)]

    @property
    def row(self) -> Row:
        return replace(self.runtime.row, name=self.name)

    def check(self) -> str | None:
        """Return None: it is installed."""
        return None

    def version(self) -> str:
        return str(self.wanted.version)

    def prepare(self, path: str) -> Session:
        """Return a session in this version; LoadError where the process has another one."""
        try:
            module = import_module(self.wanted.distribution.replace("-", "_"))
        except ImportError as error:
            raise LoadError(f"{self.name} cannot be imported: {error}") from None
        place = Path(module.__file__ or "").resolve()
        if not place.is_relative_to(self.folder.resolve()):
            raise LoadError(f"{self.name} is not what this process has: that is {place.parent}")
        return Digested(self.runtime.prepare(path))


class Digested:
    """A session that also gives the SHA-256 of all outputs of its runs, in their order."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._digest = hashlib.sha256()

    def run(self, inputs: Arrays) -> list[tuple[str, Any]]:
        outputs: list[tuple[str, Any]] = self._session.run(inputs)
        for name, value in outputs:
            self._digest.update(f"{name} {value.dtype} {value.shape} ".encode())
            plain = value.astype(str) if value.dtype.kind == "O" else value
            self._digest.update(np.ascontiguousarray(plain).tobytes())
        return outputs

    def evidence(self) -> dict[str, Any]:
        return {**self._session.evidence(), SAME: self._digest.hexdigest()}
