"""The golden store: the only module that knows the layout of ``golden/<model>/<framework>/``.

A golden is three files. ``weights.safetensors`` holds the trained parameters (or the manifest
points to the golden that has them), ``cases.safetensors`` the oracle's float64 outputs and the
small inputs, ``manifest.json`` everything else: the specification, the cases with their formulas, a
SHA-256 of every tensor and of itself, and where it all came from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from harness.core.errors import GoldenError
from harness.core.files import replacing
from harness.core.schema import Array, Arrays, Case, GoldenCase, ModelSpec
from harness.core.tolerance import rounded_scale
from harness.goldens import manifest as manifests
from harness.goldens.formulas import Formula, evaluate
from harness.goldens.manifest import case_of, key, sha256
from harness.goldens.noise_floor import Usual

MANIFEST, WEIGHTS, CASES = "manifest.json", "weights.safetensors", "cases.safetensors"
INLINE_BYTES = 128
"""The largest input that is stored beside its formula."""


@dataclass(frozen=True)
class RecordedCase:
    """What ``write`` takes of one case: its formulas, inputs, outputs and float32 errors."""

    case: Case
    formulas: Mapping[str, Formula]
    inputs: Arrays
    outputs: Arrays
    steps: Array | None
    noise: Mapping[str, float]


@dataclass(frozen=True)
class Golden:
    """A golden as read: its manifest and stored tensors are verified, inputs as they are loaded."""

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
        return manifests.json_sha256(self.manifest["weights"]["tensors"])

    @property
    def has_weights(self) -> bool:
        """Whether the trained parameters are here; a bundle's golden has none."""
        return (self.folder / str(self.manifest["weights"]["file"])).is_file()

    def parameters(self) -> Arrays:
        """Return the trained parameters; GoldenError where one is missing or altered."""
        entry = self.manifest["weights"]
        tensors = _load(self.folder / entry["file"])
        _verify(self.folder, set(entry["tensors"]), set(tensors), "parameters")
        for name, expected in entry["tensors"].items():
            _same(self.folder, name, tensors[name], expected)
        return tensors

    def load(self, case: Case) -> GoldenCase:
        """Return one case with its inputs and outputs; GoldenError where a tensor was altered."""
        entry = self._recorded[case.id][1]
        inputs = {}
        for tensor in self.spec.inputs:
            about = entry["inputs"][tensor.name]
            place = key(case, "input", tensor.name)
            if place in self.tensors:
                inputs[tensor.name] = self.tensors[place]
            else:
                shape = tensor.shape(case.batch, case.lengths)
                value = evaluate(about["formula"], shape, tensor.dtype)
                inputs[tensor.name] = _same(self.folder, place, value, about["sha256"])
        steps = None if entry["steps"] is None else np.asarray(entry["steps"], np.int64)
        names = [tensor.name for tensor in self.spec.outputs]
        outputs = {name: self.tensors[key(case, "output", name)] for name in names}
        floors = {name: self.usual.noise_floor(name, case.lengths) for name in names}
        scales = {name: self.usual.scale(name, case.lengths) for name in names}
        return GoldenCase(case, inputs, outputs, steps, floors, scales)

    def noise(self) -> dict[tuple[str, str], float]:
        """Return the float32 errors recorded, by case id and SHA-256 of the stored output."""
        return {
            (case_id, about["sha256"]): float(about["noise"])
            for case_id, (_, entry) in self._recorded.items()
            for about in entry["outputs"].values()
        }

    @cached_property
    def usual(self) -> Usual:
        """How far float32 errs, and how large values are, at any lengths."""
        cases, entries = zip(*self._recorded.values(), strict=True)
        names = [tensor.name for tensor in self.spec.outputs]

        def largest(case: Case, output: str) -> float:
            return rounded_scale(self.tensors[key(case, "output", output)])

        return Usual(
            [case.lengths for case in cases],
            {name: [float(e["outputs"][name]["noise"]) for e in entries] for name in names},
            {name: [largest(case, name) for case in cases] for name in names},
        )

    @cached_property
    def _recorded(self) -> dict[str, tuple[Case, Mapping[str, Any]]]:
        """Every case and its entry in the manifest, by the case's id."""
        cases = [(case_of(entry), entry) for entry in self.manifest["cases"]]
        return {case.id: (case, entry) for case, entry in cases}


def read(folder: Path) -> Golden:
    """Return the golden in ``folder``, every stored tensor verified.

    GoldenError names what is missing or altered.
    """
    manifest, hashes = manifests.read(folder / MANIFEST)
    return _verified(folder, manifest, hashes, _load(folder / CASES))


def assembled(
    folder: Path,
    manifest: Mapping[str, Any],
    load: Callable[[ModelSpec, int], tuple[Arrays, Arrays]],
) -> Golden:
    """Return the golden of a manifest; ``load`` gives the inputs and outputs of a case's number.

    GoldenError where one is not what the manifest says.
    """
    spec, hashes = manifests.spec_of(manifest), manifests.hashes(manifest)
    tensors: Arrays = {}
    for number, case in enumerate(map(case_of, manifest["cases"])):
        for kind, arrays in zip(("input", "output"), load(spec, number), strict=True):
            for name, value in arrays.items():
                place = key(case, kind, name)
                _same(folder, place, value, hashes.get(place, ""))
                if place in manifest["stored"]:
                    tensors[place] = value
    return _verified(folder, manifest, hashes, tensors)


def copy(source: Golden, folder: Path) -> None:
    """Replace ``folder`` by a copy of a golden and of the weights in its folder."""
    with replacing(folder) as new:
        if (source.folder / WEIGHTS).is_file():
            (new / WEIGHTS).write_bytes((source.folder / WEIGHTS).read_bytes())
        (new / CASES).write_bytes(save(dict(source.tensors)))
        (new / MANIFEST).write_text(manifests.text(source.manifest))


def _verified(
    folder: Path, manifest: Mapping[str, Any], hashes: Mapping[str, str], tensors: Arrays
) -> Golden:
    _verify(folder, set(manifest["stored"]), set(tensors), "case tensors")
    for place, value in tensors.items():
        _same(folder, place, value, hashes.get(place, ""))
    return Golden(folder, manifest, manifests.spec_of(manifest), tensors)


def write(
    folder: Path,
    spec: ModelSpec,
    parameters: Arrays | Path,
    cases: list[RecordedCase],
    about: Mapping[str, Any],
) -> None:
    """Replace the golden in ``folder`` at once.

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
    manifest = {
        "schema": manifests.SCHEMA,
        **about,
        "spec": asdict(spec),
        "weights": weights,
        "stored": sorted(tensors),
        "cases": entries,
    }
    with replacing(folder) as new:
        if not isinstance(parameters, Path):
            (new / WEIGHTS).write_bytes(save(parameters))
        (new / CASES).write_bytes(save(tensors))
        (new / MANIFEST).write_text(manifests.text(manifests.signed(manifest)))


def goldens(root: Path) -> Iterator[Path]:
    """Return every golden's folder under ``root``, without what a killed process left there."""
    folders = (path.parent for path in sorted(root.glob(f"*/*/{MANIFEST}")))
    return (folder for folder in folders if not folder.name.startswith("."))


def _entry(recorded: RecordedCase, tensors: Arrays) -> dict[str, Any]:
    """Return a case's entry in the manifest and add what is stored of it to ``tensors``."""
    case = recorded.case
    inputs: dict[str, Any] = {}
    for name, value in recorded.inputs.items():
        inputs[name] = {"sha256": sha256(value), "formula": dict(recorded.formulas[name])}
        if value.nbytes <= INLINE_BYTES:
            tensors[key(case, "input", name)] = np.asarray(value, order="C")
    outputs: dict[str, Any] = {}
    for name, value in recorded.outputs.items():
        outputs[name] = {"sha256": sha256(value), "noise": recorded.noise[name]}
        tensors[key(case, "output", name)] = np.asarray(value, order="C")
    return {
        "lengths": dict(case.lengths),
        "batch": case.batch,
        "raggedness": case.raggedness.value,
        **({"draw": case.draw} if case.draw else {}),
        "steps": None if recorded.steps is None else recorded.steps.tolist(),
        "inputs": inputs,
        "outputs": outputs,
    }


def _load(path: Path) -> Arrays:
    try:
        tensors: Arrays = load_file(path)
    except FileNotFoundError:
        raise GoldenError(f"{path} is missing") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise GoldenError(f"{path} is not a safetensors file: {error}") from None
    return tensors


def _verify(folder: Path, stated: set[str], names: set[str], what: str) -> None:
    """Raise GoldenError unless the names are those that the manifest states."""
    if stated != names:
        name = min(stated ^ names)
        kind = "missing" if name in stated else "not in the manifest"
        raise GoldenError(f"{folder}: of the {what}, {name!r} is {kind}")


def _same(folder: Path, name: str, value: Array, expected: str) -> Array:
    """Return ``value``; GoldenError where its SHA-256 is not the expected one."""
    if sha256(value) != expected:
        raise GoldenError(f"{folder}: {name!r} was altered: its SHA-256 is not the manifest's")
    return value
