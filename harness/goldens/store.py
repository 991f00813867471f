"""The golden store: the only module that knows the layout of ``golden/<model>/<framework>/``.

A golden is three files. ``weights.safetensors`` holds the trained parameters (or the manifest
points to the golden that has them), ``cases.safetensors`` the oracle's float64 outputs and the
inputs that are no formula, ``manifest.json`` everything else: the specification, the cases, a
SHA-256 of every tensor and of itself, and where it all came from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from harness.core.errors import GoldenError
from harness.core.files import replacing
from harness.core.schema import (
    Array,
    Arrays,
    Case,
    GoldenCase,
    ModelSpec,
    Raggedness,
    TensorSpec,
)
from harness.core.tolerance import rounded_scale
from harness.goldens.formulas import Formula, evaluate
from harness.goldens.noise_floor import Usual

SCHEMA = 1
MANIFEST, WEIGHTS, CASES = "manifest.json", "weights.safetensors", "cases.safetensors"
INLINE_BYTES = 128


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
        return [case for case, _ in self._recorded.values()]

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
        entry = self._recorded[case.id][1]
        inputs = {}
        for tensor in self.spec.inputs:
            about = entry["inputs"][tensor.name]
            key = _key(case, "input", tensor.name)
            if key in self.tensors:
                inputs[tensor.name] = self.tensors[key]
            else:
                shape = tensor.shape(case.batch, case.lengths)
                value = evaluate(about["formula"], shape, tensor.dtype)
                inputs[tensor.name] = _same(self.folder, key, value, about["sha256"])
        steps = None if entry["steps"] is None else np.asarray(entry["steps"], np.int64)
        names = [tensor.name for tensor in self.spec.outputs]
        outputs = {name: self.tensors[_key(case, "output", name)] for name in names}
        floors = {name: self.usual.noise_floor(name, case.lengths) for name in names}
        scales = {name: self.usual.scale(name, case.lengths) for name in names}
        return GoldenCase(case, inputs, outputs, steps, floors, scales)

    def noise(self) -> dict[tuple[str, str], float]:
        """The largest float32 error recorded, by case id and SHA-256 of the stored output."""
        return {
            (_case(entry).id, about["sha256"]): float(about["noise"])
            for entry in self.manifest["cases"]
            for about in entry["outputs"].values()
        }

    @cached_property
    def usual(self) -> Usual:
        """How far float32 errs, and how large values are, at any lengths."""
        cases, entries = zip(*self._recorded.values(), strict=True)
        names = [tensor.name for tensor in self.spec.outputs]
        return Usual(
            [case.lengths for case in cases],
            {name: [float(e["outputs"][name]["noise"]) for e in entries] for name in names},
            {name: [self._largest(case, name) for case in cases] for name in names},
        )

    @cached_property
    def _recorded(self) -> dict[str, tuple[Case, Mapping[str, Any]]]:
        """Every case and its entry in the manifest, by the case's id."""
        cases = [(_case(entry), entry) for entry in self.manifest["cases"]]
        return {case.id: (case, entry) for case, entry in cases}

    def _largest(self, case: Case, output: str) -> float:
        return rounded_scale(self.tensors[_key(case, "output", output)])


def read(folder: Path) -> Golden:
    """The golden in ``folder``, every stored tensor verified.

    GoldenError says what is missing or altered.
    """
    manifest, hashes = _stating(folder)
    return _verified(folder, manifest, hashes, _load(folder / CASES))


def manifest_in(folder: Path) -> dict[str, Any]:
    """The manifest in ``folder``; GoldenError where it is missing, altered or incomplete."""
    return _stating(folder)[0]


def _stating(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The manifest in ``folder`` and the SHA-256 that it states of every tensor."""
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
    if "spec" not in manifest and (folder / "golden").is_dir():
        raise GoldenError(f"{folder} is a bundle; its golden is {folder / 'golden'}")
    if manifest.get("sha256") != _manifest_sha256(manifest):
        raise GoldenError(f"{path} was altered: its SHA-256 is not the one it states")
    try:
        return manifest, _stated(manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GoldenError(f"{path} is incomplete: {type(error).__name__}: {error}") from None


def assembled(
    folder: Path,
    manifest: Mapping[str, Any],
    load: Callable[[ModelSpec, int], tuple[Arrays, Arrays]],
) -> Golden:
    """The golden that ``manifest`` describes, ``load`` giving inputs and outputs by case number.

    GoldenError where one is not what the manifest says.
    """
    spec, stated = _spec(manifest["spec"]), _stated(manifest)
    tensors: Arrays = {}
    for number, case in enumerate(map(_case, manifest["cases"])):
        for kind, arrays in zip(("input", "output"), load(spec, number), strict=True):
            for name, value in arrays.items():
                key = _key(case, kind, name)
                _same(folder, key, value, stated.get(key, ""))
                if key in manifest["stored"]:
                    tensors[key] = value
    return _verified(folder, manifest, stated, tensors)


def part(source: Golden, cases: Iterable[Case]) -> dict[str, Any]:
    """The manifest of a golden that holds some of the cases of ``source``."""
    kept = {case.id for case in cases}
    manifest = {name: value for name, value in source.manifest.items() if name != "sha256"}
    manifest["cases"] = [e for e in manifest["cases"] if _case(e).id in kept]
    manifest["stored"] = [key for key in manifest["stored"] if key.partition("/")[0] in kept]
    return {**manifest, "sha256": _manifest_sha256(manifest)}


def copy(source: Golden, folder: Path) -> None:
    """Write a golden anew to ``folder``, which is replaced; with the weights that it holds."""
    with replacing(folder) as new:
        if (source.folder / WEIGHTS).is_file():
            (new / WEIGHTS).write_bytes((source.folder / WEIGHTS).read_bytes())
        (new / CASES).write_bytes(save(dict(source.tensors)))
        (new / MANIFEST).write_text(manifest_text(source.manifest))


def _verified(
    folder: Path, manifest: Mapping[str, Any], hashes: Mapping[str, str], tensors: Arrays
) -> Golden:
    _verify(folder, set(manifest["stored"]), set(tensors), "case tensors")
    for key, value in tensors.items():
        _same(folder, key, value, hashes.get(key, ""))
    return Golden(folder, manifest, _spec(manifest["spec"]), tensors)


def _stated(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of every tensor of every case; raises where the manifest lacks something."""
    spec = _spec(manifest["spec"])
    for name in ("framework", "stored"):
        manifest[name]
    dict(manifest["weights"]["tensors"], file=manifest["weights"]["file"])
    if not manifest["cases"]:
        raise ValueError("it has no case")
    hashes: dict[str, str] = {}
    stored, axes = set(manifest["stored"]), set(spec.axes)
    for entry in manifest["cases"]:
        case = _case(entry).id
        if set(entry["lengths"]) != axes or "steps" not in entry:
            raise ValueError(f"case {entry['lengths']} has other axes, or no steps")
        for kind, tensors in (("input", spec.inputs), ("output", spec.outputs)):
            for tensor in tensors:
                about = entry[f"{kind}s"][tensor.name]
                hashes[f"{case}/{kind}/{tensor.name}"] = about["sha256"]
        for tensor in spec.outputs:
            float(entry["outputs"][tensor.name]["noise"])
            if f"{case}/output/{tensor.name}" not in stored:
                raise ValueError(f"no output {tensor.name} of case {case}")
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
        (new / MANIFEST).write_text(manifest_text(manifest))


def goldens(root: Path) -> Iterator[Path]:
    """Every golden's folder under ``root``; what a killed process left unfinished is none."""
    folders = (path.parent for path in sorted(root.glob(f"*/*/{MANIFEST}")))
    return (folder for folder in folders if not folder.name.startswith("."))


def sha256(array: Array) -> str:
    """A hash of the dtype, the shape and the bytes in little-endian C order."""
    data = np.asarray(array, order="C")
    found = hashlib.sha256(f"{data.dtype.str.lstrip('<>=|')}{list(data.shape)}".encode())
    found.update(data.astype(data.dtype.newbyteorder("<"), copy=False).data)
    return found.hexdigest()


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
        **({"draw": case.draw} if case.draw else {}),
        "steps": None if recorded.steps is None else recorded.steps.tolist(),
        "inputs": inputs,
        "outputs": outputs,
    }


def _case(entry: Mapping[str, Any]) -> Case:
    raggedness, draw = Raggedness(entry["raggedness"]), entry.get("draw", 0)
    return Case(entry["lengths"], entry["batch"], raggedness, draw=draw)


def _key(case: Case, kind: str, name: str) -> str:
    return f"{case.id}/{kind}/{name}"


def _spec(entry: Mapping[str, Any]) -> ModelSpec:
    """The specification in a manifest; the module that older ones name is never imported."""

    def tensors(items: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(**{**item, "axes": tuple(item["axes"])}) for item in items)

    inputs, outputs = tensors(entry["inputs"]), tensors(entry["outputs"])
    frameworks = tuple(entry["frameworks"])
    kept = {name: value for name, value in entry.items() if name != "package"}
    return ModelSpec(**{**kept, "inputs": inputs, "outputs": outputs, "frameworks": frameworks})


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


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """The manifest as JSON with one line for each entry and each case."""
    lines = [f"{json.dumps(key)}: {json.dumps(v)}" for key, v in manifest.items() if key != "cases"]
    cases = ",\n".join(json.dumps(entry) for entry in manifest["cases"])
    return "{\n" + ",\n".join([*lines, f'"cases": [\n{cases}\n]']) + "\n}\n"


def _manifest_sha256(manifest: Mapping[str, Any]) -> str:
    return _sha256_json({key: value for key, value in manifest.items() if key != "sha256"})


def _sha256_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
