"""An exported model in a folder: ``model.onnx`` with its manifest, or the reason there is none.

The only module that knows the layout of ``build/artifacts/<model>/<framework>/<exporter>/
<variant>/`` and of a deployable bundle, which holds its golden besides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import CheckError, ExportError, StageError, UsageError
from harness.core.files import replacing
from harness.core.schema import Cell, Stage
from harness.exporters import DEFAULT_OPSET

SCHEMA = 1
MODEL, MANIFEST, GOLDEN, CARD = "model.onnx", "manifest.json", "golden", "MODEL.md"
REJECTED, REPORT = "rejected.onnx", "report.json"
NAMES = {MODEL, MANIFEST, GOLDEN, CARD}
REJECTED_NAMES = {REJECTED, REPORT, GOLDEN}


@dataclass(frozen=True)
class Bundle:
    """An export as stored: either ``model`` exists, or ``failure`` says why it does not."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def model(self) -> Path:
        return self.folder / MODEL

    @property
    def failure(self) -> StageError | None:
        failure = self.manifest.get("failure")
        if failure is None:
            return None
        kind = {Stage.EXPORT: ExportError, Stage.CHECK: CheckError}[Stage(failure["stage"])]
        return kind(failure["reason"], bool(failure.get("crashed")))


def folder(artifacts: Path, cell: Cell, opset: int = DEFAULT_OPSET) -> Path:
    """Where the export that ``cell`` needs is kept; the runtime has no part in it.

    One at another opset than the default stands beside it.
    """
    name = cell.variant if opset == DEFAULT_OPSET else f"{cell.variant}-opset{opset}"
    return artifacts / cell.model / cell.framework / cell.exporter / name


def read(path: Path) -> Bundle:
    """The bundle in ``path``; UsageError where it is incomplete or its model was altered."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError):
        raise UsageError(f"{path} is not a bundle: no readable {MANIFEST} in it") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise UsageError(f"{path / MANIFEST}: expected a bundle manifest of schema {SCHEMA}")
    failure = manifest.get("failure")
    told = isinstance(failure, dict) and (
        isinstance(failure.get("reason"), str)
        and failure.get("stage") in (Stage.EXPORT, Stage.CHECK)
    )
    example = manifest.get("example")
    sized = isinstance(example, dict) and all(type(n) is int and n > 0 for n in example.values())
    made = isinstance(manifest.get("sha256"), str) and sized
    if not isinstance(manifest.get("key"), dict) or not (made if failure is None else told):
        raise UsageError(f"{path / MANIFEST}: expected key, and sha256 and example, or failure")
    bundle = Bundle(path, manifest)
    if bundle.failure is None:
        if not bundle.model.is_file():
            raise UsageError(f"{path} is not a bundle: {MODEL} is missing")
        if sha256(bundle.model) != manifest["sha256"]:
            raise UsageError(f"{bundle.model} was altered: its SHA-256 is not the manifest's")
        stated, inner = manifest.get("golden_sha256"), path / GOLDEN / MANIFEST
        if stated is not None and (not inner.is_file() or sha256(inner) != stated):
            raise UsageError(f"{inner} is missing or altered: its SHA-256 is not the bundle's")
    return bundle


def write(
    path: Path,
    model: bytes | None,
    about: Mapping[str, Any],
    golden: Path | None,
    card: str | None = None,
) -> None:
    """Replace the bundle in ``path``: the model (None where ``about`` tells the failure), its
    golden and its card.
    """
    manifest = {"schema": SCHEMA, **about}
    with replacing(path) as new:
        if model is not None:
            (new / MODEL).write_bytes(model)
            manifest["sha256"] = sha256(new / MODEL)
        if golden is not None:
            _copy_golden(golden, new / GOLDEN)
            manifest["golden_sha256"] = sha256(new / GOLDEN / MANIFEST)
        if card is not None:
            (new / CARD).write_text(card)
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def bind(path: Path) -> None:
    """Have a bundle's manifest state the golden that is in it, which may have fewer cases now."""
    manifest = json.loads((path / MANIFEST).read_text())
    stated = sha256(path / GOLDEN / MANIFEST)
    if manifest.get("golden_sha256") not in (None, stated):
        manifest["golden_sha256"] = stated
        (path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def reject(path: Path, model: bytes | None, golden: Path, report: str) -> None:
    """Replace what is in ``path`` by a model that does not conform, for who looks into it."""
    with replacing(path) as new:
        if model is not None:
            (new / REJECTED).write_bytes(model)
        _copy_golden(golden, new / GOLDEN)
        (new / REPORT).write_text(report)


def foreign(folder: Path) -> bool:
    """Whether a folder holds anything but a bundle or a rejected model: it is not ours."""
    names = {entry.name for entry in folder.iterdir()}
    if names <= {MODEL}:
        return False
    inner = folder / GOLDEN
    inside = {entry.name for entry in inner.iterdir()} if inner.is_dir() else set()
    if inside - {"manifest.json", "cases.safetensors"}:
        return True
    if names <= REJECTED_NAMES:
        return REPORT not in names
    if names - NAMES:
        return True
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return True
    return not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _copy_golden(source: Path, target: Path) -> None:
    target.mkdir()
    for name in ("manifest.json", "cases.safetensors"):
        (target / name).write_bytes((source / name).read_bytes())
