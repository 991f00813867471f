"""``--load-outputs``: outputs that were kept elsewhere, as runtimes that give them again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load

from harness import runtimes
from harness.core.errors import LoadError, RunError, UsageError
from harness.core.reading import TENSOR_BYTES, check_inside, read_inside
from harness.core.results import Cell, Status
from harness.core.schema import Array, Arrays, Case, Session
from harness.core.tolerance import Row
from harness.validation.outputs.manifest import MANIFEST, OUTPUTS, Manifest, folder, read
from harness.validation.outputs.recorder import ADDED, file_sha256, input_hashes


@dataclass(frozen=True)
class Absent:
    """Stands for a runtime, by its name in a folder, in cells of which the folder has nothing."""

    root: Path
    name: str
    framework: str | None

    @property
    def row(self) -> Row:
        return runtimes.row(self.name)

    def check(self) -> str | None:
        return f"{self.root} holds no outputs of this cell"

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
    manifest: Manifest
    cases: Sequence[Case] = ()
    golden: str = ""

    @property
    def framework(self) -> str | None:
        return self.manifest.framework

    @property
    def row(self) -> Row:
        return runtimes.row(self.manifest.cell.runtime, self.manifest.evidence.get("tf32") is True)

    def repeats(self, case: Case) -> bool:
        """Return whether the case is to have been run again elsewhere: no other case was."""
        repeated = [run.id for run in self.manifest.cases if run.repeat]
        return case.id in repeated or not repeated

    def evidence(self) -> dict[str, Any]:
        """Return the kept evidence, and where it comes from."""
        kept = self.manifest
        hashes = {"version": kept.version, "model": kept.model, "golden": kept.golden}
        seconds = sum(run.seconds for run in kept.cases)
        about = {"folder": str(self.folder), **kept.recorded, **hashes, "seconds": seconds}
        ran = {name: value for name, value in kept.evidence.items() if name not in ADDED}
        return {**ran, "loaded_from": about}

    def check(self) -> str | None:
        """Return why the cell was unavailable there; None where it was available."""
        outcome = self.manifest.outcome
        if outcome is None or outcome.status is not Status.UNAVAILABLE:
            return None
        return f"{self.folder}: unavailable there: {outcome.reason}"

    def version(self) -> str:
        return self.manifest.version

    def prepare(self, path: str) -> Session:
        """Return the runs, once they are known to be of this golden and of the model in ``path``.

        What failed there before the first run fails here in the same way and at the same stage;
        LoadError where the golden or the model is another, or the outputs are not those kept.
        """
        if outcome := self.manifest.outcome:
            raise outcome.error()
        if self.golden != self.manifest.golden:
            raise LoadError(f"{self.folder}: the golden here is not the one that it ran with")
        ran = self.manifest.model
        if ran and Path(path).is_file() and (here := file_sha256(Path(path))) != ran:
            raise LoadError(
                f"{self.folder}: {path} is not the model that ran there:"
                f" SHA-256 {here[:12]}… here, {ran[:12]}… there"
            )
        return SavedSession(self, self.tensors())

    def tensors(self) -> Arrays:
        """Return every kept output by its key; LoadError where they are not those kept."""
        try:
            data = read_inside(self.folder / OUTPUTS, self.folder, TENSOR_BYTES)
            if hashlib.sha256(data).hexdigest() != self.manifest.outputs:
                raise LoadError(f"{self.folder / OUTPUTS} was altered: its SHA-256 is another")
            tensors: Arrays = load(data)
        except (UsageError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise LoadError(f"{self.folder / OUTPUTS} cannot be read: {error}") from None
        keys = {key for run in self.manifest.cases for _, key in run.outputs or ()}
        if missing := sorted(keys - {*tensors}):
            raise LoadError(f"{self.folder / OUTPUTS} has no tensor {missing[0]}")
        return tensors


class SavedSession:
    """Gives the outputs of each case in turn."""

    def __init__(self, saved: Saved, tensors: Mapping[str, Array]) -> None:
        self._saved, self._tensors = saved, tensors
        self._runs = {(run.id, run.repeat): run for run in saved.manifest.cases}
        self._waiting = iter(saved.cases)

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Return the outputs of the next case; RunError where there are none, or other inputs."""
        case, place = next(self._waiting), self._saved.folder
        label = f"{case.id}, run again" if case.repeat else case.id
        run = self._runs.get((case.id, case.repeat))
        if run is None:
            raise RunError(f"{place} has no outputs of case {label}")
        hashes, kept = input_hashes(inputs), run.inputs
        if changed := [n for n in sorted({*hashes, *kept}) if hashes.get(n) != kept.get(n)]:
            raise RunError(
                f"{place}: case {label} ran there with other inputs: {', '.join(changed)}"
            )
        if run.failure:
            raise run.failure.error()
        return [(name, self._tensors[key]) for name, key in run.outputs or ()]

    def evidence(self) -> dict[str, Any]:
        return self._saved.evidence()


def absent(root: Path) -> dict[str, Absent]:
    """Return every runtime of which ``root`` holds a cell; UsageError where none is."""
    names = {path.parent.name: read(path).framework for path in _manifests(root)}
    if not names:
        raise UsageError(f"{root}: no saved outputs; expected what --save-outputs wrote")
    return {name: Absent(root, name, framework) for name, framework in names.items()}


def find(root: Path, cell: Cell) -> Saved | None:
    """Return what ``root`` holds of a cell, if anything; UsageError where it is not readable."""
    path = folder(root, cell) / MANIFEST
    if not path.parent.is_dir():
        return None
    check_inside(path, root)
    manifest = read(path)
    if manifest.cell != cell:
        raise UsageError(f"{path} is of another cell: {'/'.join(asdict(manifest.cell).values())}")
    return Saved(path.parent, manifest)


def every(root: Path) -> dict[str, Saved]:
    """Return every cell of which ``root`` holds outputs, by id; UsageError where none is there."""
    found = [Saved(path.parent, read(path)) for path in _manifests(root)]
    if not found:
        raise UsageError(f"{root}: no saved outputs; expected what --save-outputs wrote")
    return {saved.manifest.cell.id: saved for saved in found}


def _manifests(root: Path) -> Iterator[Path]:
    for path in sorted(root.glob(f"*/*/*/*/*/{MANIFEST}")):
        if not path.parent.name.startswith("."):
            check_inside(path, root)
            yield path
