"""An exported model in a folder: ``model.onnx`` with its manifest, or the reason there is none.

The only module that knows the layout of ``build/artifacts/<model>/<framework>/<exporter>/
<variant>/`` and of a deployable bundle, which also holds its golden.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from harness.core.errors import CheckError, ExportError, StageError, UsageError
from harness.core.files import replacing
from harness.core.names import check_path_part
from harness.core.reading import MODEL_BYTES, check_inside, read_bytes, read_json
from harness.core.results import Cell
from harness.core.schema import Stage
from harness.exporters import DEFAULT_OPSET
from harness.goldens import manifest as manifests
from harness.goldens import store
from harness.goldens.tensor_files import read_tensors, write_tensors
from harness.graphs.external_data import check_own_data
from harness.typed_json import typed

SCHEMA = 1
MODEL, MANIFEST, GOLDEN, CARD = "model.onnx", "manifest.json", "golden", "MODEL.md"
ACCOUNT = "account.json"
REJECTED, REPORT, PAGE = "rejected.onnx", "report.json", "report.html"
NAMES = {MODEL, MANIFEST, GOLDEN, CARD, ACCOUNT}
REJECTED_NAMES = {REJECTED, REPORT, PAGE, GOLDEN, ACCOUNT}
GOLDEN_NAMES = {store.MANIFEST, store.CASES}


class ExportFailure(Struct):
    """Why there is no model, as a manifest has it."""

    stage: Literal["export", "check"]
    reason: str
    crashed: bool = False


class FailedExport(Struct):
    """What is read of a manifest without a model."""

    key: dict[str, Any]
    failure: ExportFailure
    exporter: str = ""
    variant: str = ""


class ExportedModel(Struct):
    """What is read of a model's manifest."""

    key: dict[str, Any]
    sha256: str
    example: dict[str, Annotated[int, Meta(ge=1)]]
    golden_sha256: str | None = None
    rounded: list[str] = []
    account_sha256: str | None = None
    exporter: str = ""
    variant: str = ""


@dataclass(frozen=True)
class Bundle:
    """An export as stored: either ``model`` exists, or ``failure`` says why it does not."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def model(self) -> Path:
        return self.folder / MODEL

    @property
    def account(self) -> Path | None:
        """Where every weight lies in the model, as a file; None in a bundle without it."""
        return None if self.manifest.get("account_sha256") is None else self.folder / ACCOUNT

    @property
    def failure(self) -> StageError | None:
        failure = self.manifest.get("failure")
        if failure is None:
            return None
        kind = {Stage.EXPORT: ExportError, Stage.CHECK: CheckError}[Stage(failure["stage"])]
        return kind(failure["reason"], bool(failure.get("crashed")))


def folder(artifacts: Path, cell: Cell, opset: int = DEFAULT_OPSET) -> Path:
    """Return the folder of the export that ``cell`` needs, whatever its runtime.

    At another opset than the default it has a folder beside it.
    """
    name = cell.variant if opset == DEFAULT_OPSET else f"{cell.variant}-opset{opset}"
    return artifacts / cell.model / cell.framework / cell.exporter / name


def read(path: Path) -> Bundle:
    """Return the bundle in ``path``.

    UsageError where it is incomplete, was altered, or has a part of it elsewhere: by a link, or as
    data beside the model, which its hash does not cover.
    """
    for name in NAMES:
        check_inside(path / name, path)
    try:
        manifest = read_json(path / MANIFEST)
    except UsageError as error:
        if (path / REJECTED).is_file():
            raise UsageError(
                f"{path} holds a model that does not conform, not a bundle; what is wrong with it:"
                f" harness diagnose {path / REJECTED} --golden {path / GOLDEN}"
            ) from None
        raise UsageError(f"{path} is not a bundle: no readable {MANIFEST} in it: {error}") from None
    check_manifest(manifest, path / MANIFEST)
    bundle = Bundle(path, manifest)
    if bundle.failure is None:
        if not bundle.model.is_file():
            raise UsageError(f"{path} is not a bundle: {MODEL} is missing")
        data = read_bytes(bundle.model, MODEL_BYTES)
        if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
            raise UsageError(f"{bundle.model} was altered: its SHA-256 is not the manifest's")
        check_own_data(bundle.model, data)
        for field, inner in (
            ("golden_sha256", path / GOLDEN / MANIFEST),
            ("account_sha256", path / ACCOUNT),
        ):
            stated = manifest.get(field)
            if stated is not None and (not inner.is_file() or sha256(inner) != stated):
                raise UsageError(f"{inner} is missing or altered: its SHA-256 is not the bundle's")
    return bundle


def check_manifest(manifest: Any, path: Path) -> None:
    """Raise UsageError where what ``path`` holds is no manifest of a bundle."""
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise UsageError(f"{path}: expected a bundle manifest of schema {SCHEMA}")
    failed = manifest.get("failure") is not None
    typed(manifest, FailedExport if failed else ExportedModel, str(path))
    for field in ("exporter", "variant"):
        if field in manifest:
            check_path_part(manifest[field], f"{path}: {field}")


def write(
    path: Path,
    model: bytes | None,
    about: Mapping[str, Any],
    golden: Path | None,
    card: str | None = None,
    account: str | None = None,
) -> None:
    """Replace the bundle in ``path``: a model, its golden, its card and the account of its weights.

    Where ``model`` is None, ``about`` has the failure.
    """
    manifest = {"schema": SCHEMA, **about}
    with replacing(path) as new:
        if model is not None:
            (new / MODEL).write_bytes(model)
            manifest["sha256"] = sha256(new / MODEL)
        if golden is not None:
            _copy_golden(golden, new / GOLDEN)
            manifest["golden_sha256"] = sha256(new / GOLDEN / MANIFEST)
        if account is not None:
            (new / ACCOUNT).write_text(account, "utf-8")
            manifest["account_sha256"] = sha256(new / ACCOUNT)
        if card is not None:
            (new / CARD).write_text(card, "utf-8")
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def bind(path: Path) -> None:
    """Update the golden's hash in a bundle's manifest, after cases were left out of the golden."""
    manifest = read_json(path / MANIFEST)
    stated = sha256(path / GOLDEN / MANIFEST)
    if manifest.get("golden_sha256") not in (None, stated):
        manifest["golden_sha256"] = stated
        (path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def reject(
    path: Path,
    model: bytes | None,
    golden: Path,
    report: str,
    page: str,
    account: str | None = None,
) -> None:
    """Replace the files in ``path`` by a model that does not conform, its golden and the report.

    ``page`` shows the report, ``account`` says where its weights lie, and which are wrong.
    """
    with replacing(path) as new:
        if account is not None:
            (new / ACCOUNT).write_text(account, "utf-8")
        if model is not None:
            (new / REJECTED).write_bytes(model)
        _copy_golden(golden, new / GOLDEN)
        (new / REPORT).write_text(report, "utf-8")
        (new / PAGE).write_text(page, "utf-8", newline="\n")


def rejected_account(model: Path) -> Path | None:
    """Return the account beside a model that was rejected; None beside any other file."""
    path = model.with_name(ACCOUNT)
    if model.name != REJECTED or not path.is_file():
        return None
    check_inside(path, model.parent)
    return path


def is_foreign(folder: Path) -> bool:
    """Return whether a folder holds anything but a bundle or a rejected model."""
    names = {entry.name for entry in folder.iterdir()}
    if not names:
        return False
    golden = folder / GOLDEN
    golden_names = {entry.name for entry in golden.iterdir()} if golden.is_dir() else set()
    if golden_names - GOLDEN_NAMES:
        return True
    if names <= REJECTED_NAMES:
        return not {REPORT, GOLDEN} <= names
    if names - NAMES:
        return True
    try:
        manifest = read_json(folder / MANIFEST)
    except UsageError:
        return True
    return not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA


def sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, MODEL_BYTES)).hexdigest()


def _copy_golden(source: Path, target: Path) -> None:
    target.mkdir()
    (target / store.MANIFEST).write_bytes(manifests.stored(source / store.MANIFEST))
    write_tensors(target / store.CASES, read_tensors(source / store.CASES, source))
