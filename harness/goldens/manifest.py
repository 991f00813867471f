"""A golden's manifest: its specification, its cases, a SHA-256 of each tensor and of itself."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import GoldenError, UsageError
from harness.core.reading import parse_json
from harness.core.schema import Array, Case, Raggedness, RowLengths
from harness.goldens.form import GoldenManifest, checked
from harness.goldens.tensor_files import present, read_text

SCHEMA = 1


def read(path: Path) -> tuple[dict[str, Any], GoldenManifest]:
    """Return the manifest in a file as it is, and by its form.

    GoldenError where it is missing, altered, or of another form.
    """
    folder = path.parent
    data = stored(path)
    path = present(path)
    try:
        manifest = parse_json(data, path)
    except UsageError as error:
        raise GoldenError(str(error)) from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise GoldenError(f"{path}: expected a manifest of schema {SCHEMA}")
    if "spec" not in manifest and (folder / "golden").is_dir():
        raise GoldenError(f"{folder} is a bundle; its golden is {folder / 'golden'}")
    if manifest.get("sha256") != signed(manifest)["sha256"]:
        raise GoldenError(f"{path} was altered: its SHA-256 is not the one it states")
    try:
        return manifest, checked(manifest, str(path))
    except UsageError as error:
        raise GoldenError(str(error)) from None


def stored(path: Path) -> bytes:
    """Return the text of a manifest, packed or not; GoldenError where there is none to read."""
    if not os.path.lexists(present(path)):
        raise GoldenError(f"no golden at {path.parent}: {path.name} is missing")
    try:
        return read_text(path, path.parent)
    except UsageError as error:
        raise GoldenError(str(error)) from None


def hashes(form: GoldenManifest) -> dict[str, str]:
    """Return the SHA-256 of every tensor of every case, by key."""
    stated: dict[str, str] = {}
    for entry in form.cases:
        case = entry.case
        stated |= {key(case, "input", name): about.sha256 for name, about in entry.inputs.items()}
        stated |= {key(case, "output", name): about.sha256 for name, about in entry.outputs.items()}
        sums = entry.projections.items()
        stated |= {key(case, "projection", name): about.sha256 for name, about in sums}
    return stated


def part(manifest: Mapping[str, Any], cases: Iterable[Case]) -> dict[str, Any]:
    """Return the manifest of a golden with some of the cases of another, which says no more."""
    ids = {case.id for case in cases}
    entries = [entry for entry in manifest["cases"] if case_of(entry).id in ids]
    stored = [name for name in manifest["stored"] if name.partition("/")[0] in ids]
    others = {name: value for name, value in manifest.items() if name != "uncompared"}
    return signed({**others, "cases": entries, "stored": stored})


def case_of(entry: Mapping[str, Any]) -> Case:
    raggedness, draw = Raggedness(entry["raggedness"]), entry.get("draw", 0)
    rows = RowLengths(entry.get("rows", RowLengths.FIRST))
    return Case(entry["lengths"], entry["batch"], raggedness, draw=draw, rows=rows)


def entry_of(case: Case) -> dict[str, Any]:
    """Return a case as its entry in a manifest begins."""
    return {
        "lengths": dict(case.lengths),
        "batch": case.batch,
        "raggedness": case.raggedness.value,
        **({"draw": case.draw} if case.draw else {}),
        **({} if case.rows is RowLengths.FIRST else {"rows": case.rows.value}),
    }


def key(case: Case, kind: str, name: str) -> str:
    """Return the key of an ``input``, ``output`` or ``projection`` among a golden's tensors."""
    return f"{case.id}/{kind}/{name}"


def text(manifest: Mapping[str, Any]) -> str:
    """Return the manifest as compact JSON with one line for each entry and each case."""

    def compact(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"))

    lines = [f"{compact(key)}:{compact(v)}" for key, v in manifest.items() if key != "cases"]
    cases = ",\n".join(map(compact, manifest["cases"]))
    return "{\n" + ",\n".join([*lines, f'"cases":[\n{cases}\n]']) + "\n}\n"


def signed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest with its own SHA-256 as its last entry."""
    entries = {name: value for name, value in manifest.items() if name != "sha256"}
    return {**entries, "sha256": json_sha256(entries)}


def sha256(array: Array) -> str:
    """Return a hash of the dtype, the shape and the bytes in little-endian C order."""
    data = np.asarray(array, order="C")
    digest = hashlib.sha256(f"{data.dtype.str.lstrip('<>=|')}{list(data.shape)}".encode())
    digest.update(data.astype(data.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


def json_sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
