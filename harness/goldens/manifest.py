"""A golden's manifest: its specification, its cases, a SHA-256 of each tensor and of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import GoldenError
from harness.core.schema import Array, Case, ModelSpec, Raggedness, TensorSpec

SCHEMA = 1


def read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the manifest in a file and the SHA-256 that it states of every tensor, by key.

    GoldenError where it is missing, altered or incomplete.
    """
    folder = path.parent
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise GoldenError(f"no golden at {folder}: {path.name} is missing") from None
    except OSError as error:
        raise GoldenError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise GoldenError(f"{path} is not JSON: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise GoldenError(f"{path}: expected a manifest of schema {SCHEMA}")
    if "spec" not in manifest and (folder / "golden").is_dir():
        raise GoldenError(f"{folder} is a bundle; its golden is {folder / 'golden'}")
    if manifest.get("sha256") != signed(manifest)["sha256"]:
        raise GoldenError(f"{path} was altered: its SHA-256 is not the one it states")
    try:
        return manifest, hashes(manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GoldenError(f"{path} is incomplete: {type(error).__name__}: {error}") from None


def hashes(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of every tensor of every case; raise where the manifest is incomplete."""
    spec = spec_of(manifest)
    for name in ("framework", "stored"):
        manifest[name]
    dict(manifest["weights"]["tensors"], file=manifest["weights"]["file"])
    if not manifest["cases"]:
        raise ValueError("it has no case")
    stated: dict[str, str] = {}
    stored, axes = set(manifest["stored"]), set(spec.axes)
    for entry in manifest["cases"]:
        case = case_of(entry)
        if set(entry["lengths"]) != axes or "steps" not in entry:
            raise ValueError(f"case {entry['lengths']} has other axes, or no steps")
        for kind, tensors in (("input", spec.inputs), ("output", spec.outputs)):
            for tensor in tensors:
                stated[key(case, kind, tensor.name)] = entry[f"{kind}s"][tensor.name]["sha256"]
        for tensor in spec.outputs:
            float(entry["outputs"][tensor.name]["noise"])
            if key(case, "output", tensor.name) not in stored:
                raise ValueError(f"no output {tensor.name} of case {case.id}")
    return stated


def part(manifest: Mapping[str, Any], cases: Iterable[Case]) -> dict[str, Any]:
    """Return the manifest of a golden with some of the cases of another."""
    ids = {case.id for case in cases}
    entries = [entry for entry in manifest["cases"] if case_of(entry).id in ids]
    stored = [name for name in manifest["stored"] if name.partition("/")[0] in ids]
    return signed({**manifest, "cases": entries, "stored": stored})


def spec_of(manifest: Mapping[str, Any]) -> ModelSpec:
    """Return the specification; the module that older manifests name is never imported."""

    def tensors(items: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(**{**item, "axes": tuple(item["axes"])}) for item in items)

    fields = {name: value for name, value in manifest["spec"].items() if name != "package"}
    fields |= {kind: tensors(fields[kind]) for kind in ("inputs", "outputs")}
    return ModelSpec(**{**fields, "frameworks": tuple(fields["frameworks"])})


def case_of(entry: Mapping[str, Any]) -> Case:
    raggedness, draw = Raggedness(entry["raggedness"]), entry.get("draw", 0)
    return Case(entry["lengths"], entry["batch"], raggedness, draw=draw)


def key(case: Case, kind: str, name: str) -> str:
    """Return the key of an ``input`` or ``output`` among a golden's tensors."""
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
