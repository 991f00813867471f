"""``--save-outputs``: a runtime that keeps the inputs and outputs of its session."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from harness.core.errors import StageError
from harness.core.reading import MODEL_BYTES, read_bytes
from harness.core.results import Cell, CellResult, Status
from harness.core.schema import Array, Arrays, Case, Session, Stage
from harness.core.tolerance import Row
from harness.goldens.manifest import sha256
from harness.validation.cases import status
from harness.validation.job import JudgedRuntime
from harness.validation.outputs.manifest import KeptRun, Manifest, Outcome, write

ADDED = ("lint", "tolerance", "golden", "limits", "loaded_from")
"""Evidence that comes from the model file, the table and this run, not from the runtime"""
KINDS = "biuf"
"""The kinds of dtype that are kept, of up to 8 bytes"""


@dataclass(frozen=True)
class Place:
    """Where runs are to be kept, with this machine and the settings of the runs."""

    root: Path
    recorded: Mapping[str, Any]


@dataclass(frozen=True)
class Recorder:
    """A runtime whose session keeps its first runs, of ``cases`` in their order.

    ``golden`` is the SHA-256 of the manifest of the golden that they come from. They are written
    by the session's ``evidence``, which is called after the last case; ``write_outcome`` is for a
    cell that does not get there.
    """

    runtime: JudgedRuntime
    place: Place
    cell: Cell
    golden: str
    cases: Sequence[Case]

    @property
    def row(self) -> Row:
        return self.runtime.row

    @property
    def framework(self) -> str | None:
        return self.runtime.framework

    @property
    def import_path(self) -> Sequence[str]:
        return getattr(self.runtime, "import_path", ())

    def check(self) -> str | None:
        return self.runtime.check()

    def version(self) -> str:
        return self.runtime.version()

    def prepare(self, path: str) -> Session:
        return RecordingSession(self, self.runtime.prepare(path), path)

    def write_outcome(self, result: CellResult, model: Path | None) -> None:
        """Keep the outcome of a cell that did not run to its end."""
        evidence = {name: value for name, value in result.evidence.items() if name not in ADDED}
        outcome = Outcome(result.status, result.stage, result.reason)
        self.write([], {}, evidence, outcome, model)

    def write(
        self,
        runs: list[KeptRun],
        tensors: Arrays,
        evidence: Mapping[str, Any],
        outcome: Outcome | None,
        model: Path | None,
    ) -> None:
        """Keep runs and their outputs, by the keys that the runs name."""
        data = save(tensors)
        file = model is not None and model.is_file() and not self.framework
        manifest = Manifest(
            self.cell,
            self.framework,
            self.golden,
            file_sha256(model) if file and model else None,
            self.version(),
            dict(self.place.recorded),
            outcome,
            dict(evidence),
            hashlib.sha256(data).hexdigest(),
            runs,
        )
        write(self.place.root, manifest, data)


class RecordingSession:
    """A session that keeps hashes of the inputs and copies of the outputs of its first runs."""

    def __init__(self, recorder: Recorder, session: Session, path: str) -> None:
        self._recorder, self._session, self._path = recorder, session, Path(path)
        self._waiting = list(recorder.cases)
        self._runs: list[KeptRun] = []
        self._tensors: Arrays = {}

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        if not self._waiting:
            return self._session.run(inputs)
        case, hashes, started = self._waiting.pop(0), input_hashes(inputs), time.perf_counter()

        def keep(**outcome: Any) -> None:
            seconds = time.perf_counter() - started
            self._runs.append(KeptRun(case.id, case.repeat, seconds, hashes, **outcome))

        try:
            outputs = self._session.run(inputs)
        except StageError as error:
            keep(failure=Outcome(status(error), error.stage, str(error)))
            raise
        if reason := _unstorable(outputs):
            keep(failure=Outcome(Status.FAIL, Stage.COMPARE, reason))
        else:
            keys = [f"{len(self._runs)}/{number}" for number in range(len(outputs))]
            keep(outputs=[(name, key) for (name, _), key in zip(outputs, keys, strict=True)])
            for key, (_, value) in zip(keys, outputs, strict=True):
                self._tensors[key] = np.array(value, order="C")
        return outputs

    def evidence(self) -> dict[str, Any]:
        """Return the session's evidence, and keep all of its runs."""
        try:
            evidence, outcome = self._session.evidence(), None
        except StageError as error:
            self._keep({}, Outcome(status(error), Stage.RUN, str(error)))
            raise
        self._keep(evidence, outcome)
        return evidence

    def _keep(self, evidence: Mapping[str, Any], outcome: Outcome | None) -> None:
        self._recorder.write(self._runs, self._tensors, evidence, outcome, self._path)


def input_hashes(inputs: Arrays) -> dict[str, str]:
    """Return the SHA-256 of every input, by name; of strings, as text of one width."""
    plain = {n: v.astype(str) if v.dtype.kind == "O" else v for n, v in inputs.items()}
    return {name: sha256(value) for name, value in plain.items()}


def file_sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, MODEL_BYTES)).hexdigest()


def _unstorable(outputs: Sequence[tuple[str, Array]]) -> str:
    """Return which output is of a dtype that safetensors does not have; empty where none is."""
    for name, dtype in ((name, np.asarray(value).dtype) for name, value in outputs):
        if dtype.kind not in KINDS or dtype.itemsize > 8:
            return f"output {name} is {dtype}, which cannot be kept"
    return ""
