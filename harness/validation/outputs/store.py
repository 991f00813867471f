"""Runs kept on one machine and judged on another.

``DIR/<model>/<framework>/<exporter>/<variant>/<runtime>/`` is one cell: ``outputs.safetensors``
holds every output of every run as it came, ``manifest.json`` the rest: what they are called, in
order, a SHA-256 of every input, of the model, of the golden and of itself, where it all ran, and
what failed there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from harness.core.errors import LoadError, RunError, StageError, UsageError
from harness.core.files import replacing
from harness.core.schema import (
    Array,
    Arrays,
    Case,
    Cell,
    CellResult,
    Runtime,
    Session,
    Stage,
    Status,
    framework_of,
)
from harness.runtimes import guard
from harness.validation.outputs.manifest import SCHEMA, read, sha256
from harness.validation.outputs.recorder import Run, hashes

MANIFEST, OUTPUTS = "manifest.json", "outputs.safetensors"
ADDED = ("lint", "tolerance")
"""Evidence that comes from the model file and the table, not from the runtime."""
KINDS = "biuf"
"""The kinds of dtype that are kept, of up to 8 bytes."""


@dataclass(frozen=True)
class Place:
    """Where runs are to be kept, and what to tell of this machine and of what was asked."""

    folder: Path
    recorded: Mapping[str, Any]


def write(
    place: Place,
    result: CellResult,
    golden: str,
    model: Path | None,
    runtime: Runtime,
    runs: Sequence[Run] = (),
) -> None:
    """Keep a cell's result: its ``runs`` and, where they do not tell it, what became of it.

    ``golden`` is the SHA-256 of its manifest, ``model`` the file that ``runtime`` ran. What was
    kept of the cell before is replaced, all of it or nothing.
    """
    judged = [case for case in result.cases if not case.relation]
    framework = framework_of(runtime)
    tensors: Arrays = {}
    cases: list[dict[str, Any]] = []
    for case, run in zip(judged, runs, strict=False):
        entry = {"id": case.case.id, "repeat": case.case.repeat, "seconds": case.seconds}
        entry["inputs"] = run.inputs
        lost = "" if run.outputs is None else _unstorable(run.outputs)
        if case.status is Status.PASS and lost:
            entry["failure"] = _told(Status.FAIL, Stage.RUN, lost)
        elif run.outputs is None or lost:
            entry["failure"] = _told(case.status, case.stage, case.reason)
        else:
            entry["outputs"] = [
                (name, _keep(tensors, f"{len(cases)}/{number}", value))
                for number, (name, value) in enumerate(run.outputs)
            ]
        cases.append(entry)
    evidence = {name: told for name, told in result.evidence.items() if name not in ADDED}
    passed = all(case.status is Status.PASS for case in result.cases)
    whole = bool(judged) and len(runs) == len(judged) and passed is (result.status is Status.PASS)
    data = save(tensors)
    manifest = {
        "schema": SCHEMA,
        "cell": asdict(result.cell),
        "framework": framework,
        "golden": golden,
        "model": None if model is None or framework else _file_sha256(model),
        "version": guard.version(runtime),
        "recorded": dict(place.recorded),
        "outcome": None if whole else _told(result.status, result.stage, result.reason),
        "evidence": evidence,
        "outputs": hashlib.sha256(data).hexdigest(),
        "cases": cases,
    }
    manifest["sha256"] = sha256(manifest)
    with replacing(_folder(place.folder, result.cell)) as new:
        (new / OUTPUTS).write_bytes(data)
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


@dataclass(frozen=True)
class Elsewhere:
    """Stands for a runtime by the name it has in a folder, at cells of which nothing is there."""

    folder: Path
    framework: str | None

    def check(self) -> str | None:
        return f"{self.folder} holds no outputs of this cell"

    def version(self) -> str:
        return ""

    def prepare(self, path: str) -> Session:
        raise LoadError(str(self.check()))


@dataclass(frozen=True)
class Saved:
    """One cell's runs elsewhere, as a runtime that gives them again.

    ``cases`` are those that will be run, in their order; ``golden`` is the SHA-256 of the manifest
    of the golden that they come from.
    """

    folder: Path
    manifest: Mapping[str, Any]
    cases: Sequence[Case] = field(default=())
    golden: str = ""

    @property
    def framework(self) -> str | None:
        found: str | None = self.manifest.get("framework")
        return found

    @property
    def tf32(self) -> bool:
        return bool(self.manifest["evidence"].get("tf32"))

    def repeats(self, case: Case) -> bool:
        """Whether the case is to have been run again there: no other case was."""
        again = [entry["id"] for entry in self.manifest["cases"] if entry.get("repeat")]
        return case.id in again or not again

    def evidence(self) -> dict[str, Any]:
        """The runtime's own, and where it comes from."""
        kept = {name: self.manifest[name] for name in ("version", "model", "golden")}
        seconds = sum(entry["seconds"] for entry in self.manifest["cases"])
        about = {"folder": str(self.folder), **self.manifest["recorded"], **kept}
        return {**self.manifest["evidence"], "loaded_from": {**about, "seconds": seconds}}

    def check(self) -> str | None:
        """Why the cell was unavailable there, if it was."""
        outcome = self.manifest["outcome"]
        lacked = outcome and outcome["status"] == Status.UNAVAILABLE
        return f"{self.folder}: unavailable there: {outcome['reason']}" if lacked else None

    def version(self) -> str:
        return str(self.manifest["version"])

    def prepare(self, path: str) -> Session:
        """The runs, once they are known to be of this golden and of the model file in ``path``.

        What failed there before the first run fails here in the same way and at the same stage;
        LoadError where the golden or the model is another, or the outputs are not those kept.
        """
        if outcome := self.manifest["outcome"]:
            raise _failure(outcome)
        if self.golden != self.manifest["golden"]:
            raise LoadError(f"{self.folder}: the golden here is not the one that it ran with")
        ran = self.manifest["model"]
        if ran and Path(path).is_file() and (here := _file_sha256(Path(path))) != ran:
            raise LoadError(
                f"{self.folder}: {path} is not the model that ran there:"
                f" SHA-256 {here[:12]}… here, {ran[:12]}… there"
            )
        try:
            data = (self.folder / OUTPUTS).read_bytes()
            if hashlib.sha256(data).hexdigest() != self.manifest["outputs"]:
                raise LoadError(f"{self.folder / OUTPUTS} was altered: its SHA-256 is another")
            tensors = load(data)
        except (OSError, SafetensorError, ValueError) as error:
            raise LoadError(f"{self.folder / OUTPUTS} cannot be read: {error}") from None
        kept = [key for entry in self.manifest["cases"] for _, key in entry.get("outputs", ())]
        if missing := sorted({*kept} - {*tensors}):
            raise LoadError(f"{self.folder / OUTPUTS} has no tensor {missing[0]}")
        return SavedSession(self, tensors)


class SavedSession:
    """Gives the outputs of each case in turn."""

    def __init__(self, saved: Saved, tensors: Mapping[str, Array]) -> None:
        self._folder, self._tensors = saved.folder, tensors
        self._kept = {(entry["id"], entry["repeat"]): entry for entry in saved.manifest["cases"]}
        self._evidence = saved.evidence()
        self._waiting = iter(saved.cases)

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """The outputs of the next case; RunError where they are not there or of other inputs."""
        case = next(self._waiting)
        again = ", run again" if case.repeat else ""
        entry = self._kept.get((case.id, case.repeat))
        if entry is None:
            raise RunError(f"{self._folder} has no outputs of case {case.id}{again}")
        here, there = hashes(inputs), entry["inputs"]
        if other := [n for n in sorted({*here, *there}) if here.get(n) != there.get(n)]:
            raise RunError(
                f"{self._folder}: case {case.id}{again} ran there with other inputs:"
                f" {', '.join(other)}"
            )
        if failure := entry.get("failure"):
            raise _failure(failure)
        return [(name, self._tensors[key]) for name, key in entry["outputs"]]

    def evidence(self) -> dict[str, Any]:
        return self._evidence


def runtimes(folder: Path) -> dict[str, Runtime]:
    """A stand-in for every runtime of which ``folder`` holds a cell; UsageError where none is."""
    found: dict[str, Runtime] = {}
    for path in _manifests(folder):
        found[path.parent.name] = Elsewhere(folder, read(path).get("framework"))
    if not found:
        raise UsageError(f"{folder}: no saved outputs; expected what --save-outputs wrote")
    return found


def find(folder: Path, cell: Cell) -> Saved | None:
    """What ``folder`` holds of a cell, if anything; UsageError where it is not readable."""
    path = _folder(folder, cell) / MANIFEST
    if not path.parent.is_dir():
        return None
    manifest = read(path)
    if manifest["cell"] != asdict(cell):
        raise UsageError(f"{path} is of another cell: {'/'.join(manifest['cell'].values())}")
    return Saved(path.parent, manifest)


def _manifests(folder: Path) -> Iterator[Path]:
    found = sorted(folder.glob(f"*/*/*/*/*/{MANIFEST}"))
    return (path for path in found if not path.parent.name.startswith("."))


def _folder(root: Path, cell: Cell) -> Path:
    return root.joinpath(cell.model, cell.framework, cell.exporter, cell.variant, cell.runtime)


def _unstorable(outputs: Sequence[tuple[str, Array]]) -> str:
    """Which output is of a dtype that safetensors does not have; empty where none is."""
    for name, dtype in ((name, np.asarray(value).dtype) for name, value in outputs):
        if dtype.kind not in KINDS or dtype.itemsize > 8:
            return f"output {name} is {dtype}, which cannot be kept"
    return ""


def _keep(tensors: Arrays, key: str, value: Array) -> str:
    tensors[key] = np.asarray(value, order="C")
    return key


def _told(status: Status, stage: Stage, reason: str) -> dict[str, str]:
    return {"status": status.value, "stage": stage.value, "reason": reason}


def _failure(told: Mapping[str, str]) -> StageError:
    error = StageError(told["reason"], crashed=told["status"] == Status.ERROR)
    error.stage = Stage(told["stage"])
    return error


def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
