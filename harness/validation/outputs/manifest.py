"""One cell's kept runs: its manifest, its folder, reading and writing them.

``DIR/<model>/<framework>/<exporter>/<variant>/<runtime>/`` is one cell: ``outputs.safetensors``
holds every output of every run as it came, ``manifest.json`` the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from harness.core.errors import StageError, UsageError
from harness.core.files import replacing
from harness.core.names import check_path_part
from harness.core.reading import read_json
from harness.core.results import Cell, Status
from harness.core.schema import Stage
from harness.goldens.form import Hash
from harness.typed_json import Magnitude, plain, typed

SCHEMA: Final = 1
MANIFEST, OUTPUTS = "manifest.json", "outputs.safetensors"


class Outcome(Struct, forbid_unknown_fields=True, frozen=True):
    """The outcome of a cell or a run without outputs."""

    status: Status
    stage: Stage
    reason: str

    def error(self) -> StageError:
        """Return the error that stands for it."""
        error = StageError(self.reason, crashed=self.status is Status.ERROR)
        error.stage = self.stage
        return error


class KeptRun(Struct, forbid_unknown_fields=True, frozen=True):
    """One run of a case: the SHA-256 of every input, and the names and keys of its outputs, in
    order, or why there are none.
    """

    id: str
    repeat: bool
    seconds: Magnitude
    inputs: dict[str, str]
    outputs: list[tuple[str, str]] | None = None
    failure: Outcome | None = None


class Manifest(Struct, forbid_unknown_fields=True, frozen=True):
    """All that is kept of a cell but the outputs, whose file has the SHA-256 ``outputs``.

    ``golden`` and ``model`` are SHA-256, of the golden's manifest and of the model file;
    ``outcome`` is that of a cell that did not run to its end.
    """

    cell: Cell
    framework: str | None
    golden: Hash
    model: Hash | None
    version: str
    recorded: dict[str, Any]
    outcome: Outcome | None
    evidence: dict[str, Any]
    outputs: Hash
    cases: list[KeptRun] = []
    schema: Literal[1] = SCHEMA


def folder(root: Path, cell: Cell) -> Path:
    """Return where a cell is kept."""
    return root.joinpath(cell.model, cell.framework, cell.exporter, cell.variant, cell.runtime)


def check_cell(cell: Cell, what: str) -> None:
    """Raise UsageError where a part of a cell's id could not be a folder of its own."""
    for part, name in asdict(cell).items():
        check_path_part(name, f"{what}: {part}")


def write(root: Path, manifest: Manifest, outputs: bytes) -> None:
    """Replace what was kept of a cell before, all of it or nothing."""
    check_cell(manifest.cell, "--save-outputs")
    entries = plain(manifest)
    entries["sha256"] = _sha256(entries)
    with replacing(folder(root, manifest.cell)) as new:
        (new / OUTPUTS).write_bytes(outputs)
        (new / MANIFEST).write_text(json.dumps(entries, indent=1) + "\n", "utf-8")


def read(path: Path) -> Manifest:
    """Return a manifest that is whole; UsageError, in one line, where it is not."""
    entries = read_json(path)
    if not isinstance(entries, dict) or entries.get("schema") != SCHEMA:
        raise UsageError(f"{path}: expected saved outputs of schema {SCHEMA}")
    if entries.pop("sha256", None) != _sha256(entries):
        raise UsageError(f"{path} was altered: its SHA-256 is not the one it states")
    manifest = typed(entries, Manifest, str(path))
    check_cell(manifest.cell, str(path))
    if manifest.framework is not None:
        check_path_part(manifest.framework, f"{path}: framework")
    for number, run in enumerate(manifest.cases):
        if run.outputs is None and run.failure is None:
            raise UsageError(f"{path}: cases[{number}] has neither outputs nor a failure")
    return manifest


def _sha256(entries: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
