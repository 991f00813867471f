"""The golden store: the only module that knows the layout of ``golden/<model>/<framework>/``.

A golden is three files. ``weights.safetensors`` holds the trained parameters (or the manifest
points to the golden that has them), ``cases.safetensors`` the oracle's float64 outputs and the
inputs that are no formula, ``manifest.json`` everything else: the specification, the cases, a
SHA-256 of every tensor and of itself, and where it all came from.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from harness.atomic import replacing
from harness.errors import GoldenError
from harness.formula import Formula, evaluate
from harness.schema import (
    Array,
    Arrays,
    Case,
    GoldenCase,
    Lengths,
    ModelSpec,
    Raggedness,
    TensorSpec,
)

SCHEMA = 1
MANIFEST, WEIGHTS, CASES = "manifest.json", "weights.safetensors", "cases.safetensors"
INLINE_BYTES = 128
ENOUGH = 8


@dataclass(frozen=True)
class RecordedCase:
    """What ``write`` needs of one case: its formulas, inputs, outputs and float32 errors."""

    case: Case
    formulas: Mapping[str, Formula]
    inputs: Arrays
    outputs: Arrays
    steps: Array | None
    noise: Mapping[str, float]


@dataclass(frozen=True)
class Golden:
    """A golden as read: its manifest is verified, its tensors when they are asked for."""

    folder: Path
    manifest: Mapping[str, Any]
    spec: ModelSpec
    tensors: Mapping[str, Array]

    @property
    def framework(self) -> str:
        return str(self.manifest["framework"])

    @property
    def cases(self) -> list[Case]:
        return [_case(entry) for entry in self.manifest["cases"]]

    @property
    def weights_sha256(self) -> str:
        """One hash for all parameters, to tell whether an exported model is up to date."""
        return _sha256_json(self.manifest["weights"]["tensors"])

    @property
    def has_weights(self) -> bool:
        """Whether the trained parameters are here; a bundle's golden has none."""
        found: bool = (self.folder / str(self.manifest["weights"]["file"])).is_file()
        return found

    def parameters(self) -> Arrays:
        """The trained parameters; GoldenError where one is missing or altered."""
        entry = self.manifest["weights"]
        tensors = _load(self.folder / entry["file"])
        _verify(self.folder, set(entry["tensors"]), set(tensors), "parameters")
        for name, expected in entry["tensors"].items():
            _same(self.folder, name, tensors[name], expected)
        return tensors

    def load(self, case: Case) -> GoldenCase:
        """One case with its inputs and outputs; GoldenError where a tensor was altered."""
        entry = next(e for e in self.manifest["cases"] if _case(e).id == case.id)
        inputs, outputs = {}, {}
        for tensor in self.spec.inputs:
            about = entry["inputs"][tensor.name]
            key = _key(entry, "input", tensor.name)
            if key in self.tensors:
                inputs[tensor.name] = self.tensors[key]
            else:
                shape = tensor.shape(case.batch, case.lengths)
                value = evaluate(about["formula"], shape, tensor.dtype)
                inputs[tensor.name] = _same(self.folder, key, value, about["sha256"])
        for tensor in self.spec.outputs:
            key = _key(entry, "output", tensor.name)
            outputs[tensor.name] = self.tensors[key]
        steps = None if entry["steps"] is None else np.asarray(entry["steps"], np.int64)
        names = [t.name for t in self.spec.outputs]
        floors = {name: self.noise_floor(name, case.lengths) for name in names}
        scales = {name: self.scale(name, case.lengths) for name in names}
        return GoldenCase(case, inputs, outputs, steps, floors, scales)

    def noise(self) -> dict[tuple[str, str], float]:
        """The largest float32 error recorded, by case id and SHA-256 of the stored output."""
        return {
            (_case(entry).id, about["sha256"]): float(about["noise"])
            for entry in self.manifest["cases"]
            for about in entry["outputs"].values()
        }

    def noise_floor(self, output: str, lengths: Lengths) -> float:
        """The largest absolute float32 error of ``output`` in any case of these lengths.

        Where that is less than is usual (the median) at lengths like these, it is luck, and the
        usual counts; so it does where no case has these lengths.
        """
        entries = self._near(lengths)
        noise = [float(entry["outputs"][output]["noise"]) for entry in entries]
        here = [n for n, e in zip(noise, entries, strict=True) if e["lengths"] == dict(lengths)]
        return max([*here, float(np.median(noise))])

    def scale(self, output: str, lengths: Lengths) -> float:
        """The largest absolute finite value of ``output`` at lengths like these.

        One case may hold only small values of an output that is not small, and what computes them
        rounds at the output's scale.
        """
        values = [self.tensors[_key(e, "output", output)] for e in self._near(lengths)]
        return max(float(np.abs(v[np.isfinite(v)]).max(initial=0.0)) for v in values)

    def _near(self, lengths: Lengths) -> list[Mapping[str, Any]]:
        """The cases whose lengths are all within a factor of two, or four and so on up to
        ``ENOUGH`` cases: what few rows show is luck.
        """
        entries: list[Mapping[str, Any]] = self.manifest["cases"]
        apart = [
            max(abs(math.log2(entry["lengths"][axis] / n)) for axis, n in lengths.items())
            for entry in entries
        ]
        within = 1
        while sum(distance <= within for distance in apart) < min(ENOUGH, len(entries)):
            within += 1
        return [e for e, distance in zip(entries, apart, strict=True) if distance <= within]


def read(folder: Path) -> Golden:
    """The golden in ``folder``, every stored tensor verified.

    GoldenError says what is missing or altered.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise GoldenError(f"no golden at {folder}: {MANIFEST} is missing") from None
    except OSError as error:
        raise GoldenError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise GoldenError(f"{path} is not JSON: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise GoldenError(f"{path}: expected a manifest of schema {SCHEMA}")
    if manifest.get("sha256") != _manifest_sha256(manifest):
        raise GoldenError(f"{path} was altered: its SHA-256 is not the one it states")
    try:
        spec, hashes = _spec(manifest["spec"]), _stated(manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GoldenError(f"{path} is incomplete: {type(error).__name__}: {error}") from None
    tensors = _load(folder / CASES)
    _verify(folder, set(manifest["stored"]), set(tensors), "case tensors")
    for key, value in tensors.items():
        _same(folder, key, value, hashes.get(key, ""))
    return Golden(folder, manifest, spec, tensors)


def _stated(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of every tensor of every case; raises where the manifest lacks something."""
    spec = _spec(manifest["spec"])
    for name in ("framework", "stored"):
        manifest[name]
    dict(manifest["weights"]["tensors"], file=manifest["weights"]["file"])
    if not manifest["cases"]:
        raise ValueError("it has no case")
    hashes = {}
    for entry in manifest["cases"]:
        if set(entry["lengths"]) != set(spec.axes) or "steps" not in entry:
            raise ValueError(f"case {entry['lengths']} has other axes, or no steps")
        for kind, tensors in (("input", spec.inputs), ("output", spec.outputs)):
            for tensor in tensors:
                hashes[_key(entry, kind, tensor.name)] = entry[f"{kind}s"][tensor.name]["sha256"]
        for tensor in spec.outputs:
            float(entry["outputs"][tensor.name]["noise"])
            if _key(entry, "output", tensor.name) not in manifest["stored"]:
                raise ValueError(f"no output {tensor.name} of case {_case(entry).id}")
    return hashes


def write(
    folder: Path,
    spec: ModelSpec,
    parameters: Arrays | Path,
    cases: list[RecordedCase],
    about: Mapping[str, Any],
) -> None:
    """Replace the golden in ``folder`` by a new one, all of it or nothing.

    ``parameters`` are the weights, or the folder of the golden that holds them.
    """
    if isinstance(parameters, Path):
        owner = read(parameters)
        file = os.path.relpath(parameters / owner.manifest["weights"]["file"], folder)
        weights = {"file": file, "tensors": owner.manifest["weights"]["tensors"]}
    else:
        hashes = {name: sha256(value) for name, value in sorted(parameters.items())}
        weights = {"file": WEIGHTS, "tensors": hashes}
    tensors: Arrays = {}
    entries = [_entry(recorded, tensors) for recorded in cases]
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        **about,
        "spec": asdict(spec),
        "weights": weights,
        "stored": sorted(tensors),
        "cases": entries,
    }
    manifest["sha256"] = _manifest_sha256(manifest)
    with replacing(folder) as new:
        if not isinstance(parameters, Path):
            (new / WEIGHTS).write_bytes(save(parameters))
        (new / CASES).write_bytes(save(tensors))
        (new / MANIFEST).write_text(_manifest_text(manifest))


def goldens(root: Path) -> Iterator[Path]:
    """Every golden's folder under ``root``."""
    return (path.parent for path in sorted(root.glob(f"*/*/{MANIFEST}")))


def sha256(array: Array) -> str:
    """A hash of the dtype, the shape and the bytes in little-endian C order."""
    data = np.asarray(array, order="C")
    head = f"{data.dtype.str.lstrip('<>=|')}{list(data.shape)}".encode()
    return hashlib.sha256(head + data.astype(data.dtype.newbyteorder("<")).tobytes()).hexdigest()


def _entry(recorded: RecordedCase, tensors: Arrays) -> dict[str, Any]:
    case = recorded.case
    inputs: dict[str, Any] = {}
    for name, value in recorded.inputs.items():
        inputs[name] = {"sha256": sha256(value), "formula": dict(recorded.formulas[name])}
        if value.nbytes <= INLINE_BYTES:
            tensors[f"{case.id}/input/{name}"] = np.asarray(value, order="C")
    outputs: dict[str, Any] = {}
    for name, value in recorded.outputs.items():
        outputs[name] = {"sha256": sha256(value), "noise": recorded.noise[name]}
        tensors[f"{case.id}/output/{name}"] = np.asarray(value, order="C")
    return {
        "lengths": dict(case.lengths),
        "batch": case.batch,
        "raggedness": case.raggedness.value,
        "steps": None if recorded.steps is None else recorded.steps.tolist(),
        "inputs": inputs,
        "outputs": outputs,
    }


def _case(entry: Mapping[str, Any]) -> Case:
    return Case(entry["lengths"], entry["batch"], Raggedness(entry["raggedness"]))


def _key(entry: Mapping[str, Any], kind: str, name: str) -> str:
    return f"{_case(entry).id}/{kind}/{name}"


def _spec(entry: Mapping[str, Any]) -> ModelSpec:
    def tensors(items: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(**{**item, "axes": tuple(item["axes"])}) for item in items)

    inputs, outputs = tensors(entry["inputs"]), tensors(entry["outputs"])
    frameworks = tuple(entry["frameworks"])
    return ModelSpec(**{**entry, "inputs": inputs, "outputs": outputs, "frameworks": frameworks})


def _load(path: Path) -> Arrays:
    try:
        tensors: Arrays = load_file(path)
    except FileNotFoundError:
        raise GoldenError(f"{path} is missing") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise GoldenError(f"{path} is not a safetensors file: {error}") from None
    return tensors


def _verify(folder: Path, stated: set[str], found: set[str], what: str) -> None:
    if stated != found:
        name = min(stated ^ found)
        kind = "missing" if name in stated else "not in the manifest"
        raise GoldenError(f"{folder}: of the {what}, {name!r} is {kind}")


def _same(folder: Path, name: str, value: Array, expected: str) -> Array:
    if sha256(value) != expected:
        raise GoldenError(f"{folder}: {name!r} was altered: its SHA-256 is not the manifest's")
    return value


def _manifest_text(manifest: Mapping[str, Any]) -> str:
    """The manifest as JSON with one line for each entry and each case."""
    lines = [f"{json.dumps(key)}: {json.dumps(v)}" for key, v in manifest.items() if key != "cases"]
    cases = ",\n".join(json.dumps(entry) for entry in manifest["cases"])
    return "{\n" + ",\n".join([*lines, f'"cases": [\n{cases}\n]']) + "\n}\n"


def _manifest_sha256(manifest: Mapping[str, Any]) -> str:
    return _sha256_json({key: value for key, value in manifest.items() if key != "sha256"})


def _sha256_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
