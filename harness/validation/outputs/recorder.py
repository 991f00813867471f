"""Wraps a runtime so that what its session takes and gives can be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.schema import Array, Arrays, Runtime, Session, framework_of
from harness.goldens.store import sha256
from harness.runtimes import guard


@dataclass
class Run:
    """One run of a session: a hash of each input, and what came out, None where nothing did."""

    inputs: Mapping[str, str]
    outputs: Sequence[tuple[str, Array]] | None = None


class Recorder:
    """A runtime that keeps the first ``count`` runs of the first session that it prepares."""

    def __init__(self, runtime: Runtime, count: int) -> None:
        self._runtime, self._count = runtime, count
        self._session: RecordingSession | None = None
        self.framework = framework_of(runtime)

    @property
    def runs(self) -> list[Run]:
        return self._session.runs if self._session else []

    def check(self) -> str | None:
        return self._runtime.check()

    def version(self) -> str:
        return self._runtime.version()

    def prepare(self, path: str) -> Session:
        session = guard.prepared(self._runtime, path)
        if self._session is not None:
            return session
        self._session = RecordingSession(session, self._count)
        return self._session


class RecordingSession:
    """A session that keeps hashes of the inputs and copies of the outputs of its first runs."""

    def __init__(self, session: Session, count: int) -> None:
        self._session, self._count = session, count
        self.runs: list[Run] = []

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        if len(self.runs) == self._count:
            return self._session.run(inputs)
        run = Run(hashes(inputs))
        self.runs.append(run)
        outputs = guard.outputs(self._session, inputs)
        run.outputs = [(name, value.copy()) for name, value in outputs]
        return outputs

    def evidence(self) -> dict[str, Any]:
        return self._session.evidence()


def hashes(inputs: Arrays) -> dict[str, str]:
    """The SHA-256 of every input, by name; of strings, as text of one width."""
    plain = {n: v.astype(str) if v.dtype.kind == "O" else v for n, v in inputs.items()}
    return {name: sha256(value) for name, value in plain.items()}
