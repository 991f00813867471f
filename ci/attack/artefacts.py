"""Hostile artefacts, a row each: how it is made of a valid one, the command, what must happen."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kinds
import numpy as np
import onnx
import sources
from kinds import file_hash
from onnx import TensorProto, numpy_helper
from safetensors.numpy import save_file

Change = Callable[[Path], None]


@dataclass(frozen=True)
class Row:
    """An artefact: ``make`` changes a copy of a tree, in which the files then lie.

    The command must end with one of ``codes`` and say ``says``. It is run in a ``fresh`` process
    where more than what the command itself does matters, in ``folder``.
    """

    name: str
    make: Change
    command: str
    codes: tuple[int, ...] = (2,)
    says: str = ""
    tree: str = "altered"
    fresh: bool = False
    folder: str = "."
    env: dict[str, str] = field(default_factory=dict)
    seconds: float = 60.0
    needs: str = ""
    leaves: tuple[str, ...] = ()


def golden(change: Callable[[Any, dict[str, Any]], Any], place: str = "bundle/golden") -> Change:
    """Return what changes a golden's manifest and tensors and states every hash anew."""
    from harness.goldens import manifest as manifests
    from harness.goldens.tensor_files import present, read_tensors

    def make(tree: Path) -> None:
        folder = tree / place
        about, file = folder / "manifest.json", folder / "cases.safetensors"
        manifest = json.loads(manifests.stored(about))
        present(about).unlink()
        stored, tensors = present(file), read_tensors(file, folder)
        ids = {id(entry): manifests.case_of(entry).id for entry in manifest["cases"]}
        change(manifest, tensors)
        for entry in manifest["cases"]:
            case = ids[id(entry)]
            with suppress(Exception):
                here = manifests.case_of(entry).id
                for key in [key for key in tensors if key.startswith(f"{case}/")]:
                    tensors[here + key.removeprefix(case)] = tensors.pop(key)
                _stated(manifest, entry, tensors)
        manifest["stored"] = sorted(tensors)
        stored.unlink()
        save_file(tensors, file)
        text = json.dumps(manifests.signed(manifest)).replace(
            f'"{DEEP}"', "[" * 10**5 + "]" * 10**5
        )
        about.write_text(text)
        _bind(tree)

    return make


def _stated(manifest: Any, entry: dict[str, Any], tensors: dict[str, Any]) -> None:
    """State the hashes of a case's tensors; those that are to be empty are made."""
    from harness.goldens import formulas
    from harness.goldens import manifest as manifests

    spec, case = manifests.spec_of(manifest), manifests.case_of(entry)
    for tensor in spec.outputs:
        key, shape = (
            manifests.key(case, "output", tensor.name),
            tensor.shape(case.batch, case.lengths),
        )
        if 0 in shape:
            tensors[key] = np.zeros(shape)
        entry["outputs"][tensor.name]["sha256"] = manifests.sha256(tensors[key])
    for tensor in spec.inputs:
        key, shape = (
            manifests.key(case, "input", tensor.name),
            tensor.shape(case.batch, case.lengths),
        )
        if key not in tensors and math.prod(shape) <= 10**6:
            about = entry["inputs"][tensor.name]
            value = formulas.evaluate(about["formula"], shape, tensor.dtype)
            about["sha256"] = manifests.sha256(value)


DEEP = "@deep@"


def _bind(tree: Path) -> None:
    place = tree / "bundle/manifest.json"
    about = json.loads(place.read_text())
    inner = tree / "bundle/golden/manifest.json"
    about["golden_sha256"] = file_hash(inner.read_bytes())
    about["sha256"] = file_hash((tree / "bundle/model.onnx").read_bytes())
    place.write_text(json.dumps(about))


def cases(change: Callable[[dict[str, Any]], Any], spec: Any = None) -> Change:
    """Return what leaves one case in a golden, without its input, and changes it.

    ``spec`` are fields of the specification that are others.
    """

    def each(manifest: Any, tensors: dict[str, Any]) -> None:
        from harness.goldens.manifest import case_of

        entry = manifest["cases"][-1]
        manifest["spec"] |= spec or {}
        manifest["cases"] = [entry]
        own = f"{case_of(entry).id}/output/"
        kept = {key: value for key, value in tensors.items() if key.startswith(own)}
        tensors.clear()
        tensors.update(kept)
        change(entry)

    return golden(each)


def document(file: str, change: Callable[[Any], Any]) -> Change:
    """Return what changes a JSON file and states its hash, or its summary, anew."""

    def make(tree: Path) -> None:
        path = tree / file
        before = tree.parent / "before"
        shutil.copytree(tree, before, symlinks=True)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        kinds.resign(tree, before, file)
        shutil.rmtree(before)

    return make


def model(change: Callable[[onnx.ModelProto], Any], file: str = "bundle/model.onnx") -> Change:
    """Return what changes a model, and states its hash anew where it is a bundle's."""

    def make(tree: Path) -> None:
        proto = onnx.load(tree / file)
        result = change(proto)
        data = result if isinstance(result, bytes) else proto.SerializeToString()
        (tree / file).write_bytes(data)
        _bind(tree)

    return make


def weights(factor: float) -> Change:
    """Return what multiplies the weights of a bundle's recurrent layer."""
    return lambda tree: sources.alter(tree / "bundle", factor)


def then(*changes: Change) -> Change:
    def make(tree: Path) -> None:
        for change in changes:
            change(tree)

    return make


def text(file: str, content: str | bytes) -> Change:
    def make(tree: Path) -> None:
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def replaced(file: str, old: bytes, new: bytes) -> Change:
    def make(tree: Path) -> None:
        (tree / file).write_bytes((tree / file).read_bytes().replace(old, new))

    return make


def linked(file: str) -> Change:
    """Return what moves a file out of the tree and leaves a link to it."""

    def make(tree: Path) -> None:
        target = tree.parent / "elsewhere" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(tree / file, target)
        (tree / file).symlink_to(target)

    return make


def pipe(file: str) -> Change:
    def make(tree: Path) -> None:
        (tree / file).unlink()
        os.mkfifo(tree / file)

    return make


def device(file: str) -> Change:
    def make(tree: Path) -> None:
        (tree / file).unlink()
        (tree / file).symlink_to("/dev/zero")

    return make


def no_step(manifest: Any, tensors: dict[str, Any]) -> None:
    """Let every case compare no step."""
    for entry in manifest["cases"]:
        entry["steps"] = []
    for name, value in tensors.items():
        if "/output/" in name:
            tensors[name] = np.zeros((value.shape[0], 0, value.shape[2]), value.dtype)


def encoded(file: str, encoding: str) -> Change:
    return lambda tree: text(file, (tree / file).read_text("utf-8").encode(encoding))(tree)


def noise(value: Any) -> Change:
    return cases(lambda entry: entry["outputs"]["probabilities"].update(noise=value))


def no_rows(tree: Path) -> None:
    """Let every data set have a batch of 0."""
    for path in tree.glob("tests/test_data_set_*/*.pb"):
        value = numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))[:0]
        path.write_bytes(numpy_helper.from_array(value).SerializeToString())


def weights_elsewhere(tree: Path) -> None:
    """Let the golden's parameters be in a file outside of the bundle."""
    shutil.copyfile(sources.GOLDEN / "weights.packed", tree.parent / "secret.safetensors")
    golden(lambda m, _: m["weights"].update(file="../../../secret.safetensors"))(tree)


def altered_outside(tree: Path) -> None:
    """Put weights in a file of their own and change them after the model's hash is stated."""
    proto = onnx.load(tree / "bundle/model.onnx")
    data = outside(proto, "weights.bin")
    (tree / "bundle/model.onnx").write_bytes(proto.SerializeToString())
    (tree / "bundle/weights.bin").write_bytes(data)
    _bind(tree)
    changed = np.frombuffer(data, np.float32) * np.float32(1.0000005)
    (tree / "bundle/weights.bin").write_bytes(changed.tobytes())


def outside(model: onnx.ModelProto, location: str) -> bytes:
    """Move a model's largest weights to a file at ``location``; return what it has to hold."""
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    data = bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return data


def _formula(formula: dict[str, Any], length: int, axes: list[Any]) -> Change:
    """Return what lets the input of a case be a formula at a length and of other axes."""
    tensor = {"name": "tokens", "dtype": "int32", "axes": axes, "low": 1, "high": 25}

    def change(entry: dict[str, Any]) -> None:
        entry["lengths"] = {"sequence": length}
        entry["inputs"]["tokens"]["formula"] = formula

    return cases(change, {"inputs": [tensor]})


_DRAWN = {"seed": 1, "low": 0, "high": 9, "normal": True}
_STEPS = ["batch", "sequence"]
FORMULAS = {
    "long": _formula(_DRAWN, 2**31, _STEPS),
    "wide": _formula({"constant": 1}, 2, [*_STEPS, 2**33]),
    "of many axes": _formula({"constant": 1}, 9, ["batch", *["sequence"] * 30]),
    "gapped": _formula({**_DRAWN, "counts": [1], "raggedness": "gapped"}, 2**29, _STEPS),
    "empty": _formula({"seed": 1, "low": 9, "high": 9}, 2, _STEPS),
    "text": _formula({"each": ["x" * 99] * 3}, 2, ["batch"]),
}
"""Goldens of a kilobyte whose inputs would take gigabytes, or cannot be, by how they are."""
