"""Goldens and bundles as folders that ONNX's own test runners read, and back without a loss.

What such a folder has no place for stands beside, in files that the runners pass over
(``as_golden``). ``remainder_K.pb`` holds what rounding took from the golden's float64 values of
output K: the difference of a float64 and the float32 nearest to it is a float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from harness.core import selectors
from harness.core.errors import CheckError, NothingSelectedError, StageError, UsageError
from harness.core.files import replacing
from harness.core.reading import MODEL_BYTES, TENSOR_BYTES, read_bytes, read_inside
from harness.core.registry import resolve
from harness.core.schema import Array, Arrays, GoldenCase, lengths_text
from harness.core.tolerance import one_ulp
from harness.exporting import bundle
from harness.goldens import manifest as manifests
from harness.goldens import store
from harness.goldens.form import WEIGHTS
from harness.goldens.store import Golden
from harness.goldens.tensor_files import present
from harness.graphs import interface, walk
from harness.graphs.external_data import tensors
from harness.onnx_tests import layout
from harness.onnx_tests.as_golden import (
    BUNDLE,
    GOLDEN,
    PROJECTION,
    REMAINDER,
    has_golden,
    read_golden,
)
from harness.processes.limits import IN_FLOAT64
from harness.processes.worker import LostError, call_in_child
from harness.subjects.resolve import Kind, Subject
from reference_models import every_step

ORACLE = "harness.oracle.runtime:ORACLE"
Complete = Callable[[GoldenCase], GoldenCase]


@dataclass(frozen=True)
class Convertible:
    """A golden, its model where that is known, and the other files of its bundle."""

    golden: Golden
    model: Path | None = None
    others: Sequence[Path] = ()


def source(subject: Subject, model: Path | None = None) -> Convertible:
    """Return the golden or the bundle that ``subject`` names; ``model`` is the model of a golden.

    UsageError or GoldenError where it cannot be read.
    """
    path = subject.path
    if subject.kind is Kind.GOLDEN:
        return Convertible(store.read(path), model)
    if model is not None:
        raise UsageError(f"{path} is a bundle and has its own model; --model is for a golden")
    stored = bundle.read(path)
    if stored.failure is not None:
        raise UsageError(f"{path} holds no model: {stored.failure}")
    files = [entry for entry in sorted(path.iterdir()) if entry.is_file()]
    others = [entry for entry in files if entry != stored.model]
    return Convertible(store.read(path / bundle.GOLDEN), stored.model, others)


def to_tests(
    convertible: Convertible, folder: Path, lengths: Sequence[str] = ()
) -> tuple[int, int]:
    """Write the cases of the selected lengths to a new ``folder`` of ONNX tests.

    Return how many are written and how many left out, of which the golden holds only some steps
    and the others cannot be derived. NothingSelectedError, and nothing is written, where there is
    none.
    """
    _check_new(folder)
    golden, model = convertible.golden, convertible.model
    stored_lengths = {case.longest for case in golden.cases}
    numbers = selectors.numbers("--lengths", lengths, stored_lengths)
    numbers.require(stored_lengths)
    loaded = [golden.load(case) for case in golden.cases if case.longest in numbers]
    proto = None if model is None else _model(model, golden)
    partly = any(golden_case.steps is not None for golden_case in loaded)
    complete = _completing(golden, proto) if partly else None
    kept = [golden_case for golden_case in loaded if complete or golden_case.steps is None]
    if not kept:
        raise NothingSelectedError(
            f"{golden.folder} holds only some steps of every selected case, and neither its"
            " weights nor a model (--model FILE) that the oracle can run are there to derive the"
            " others by"
        )
    selected = [golden_case.case for golden_case in kept]
    all_kept = len(kept) == len(golden.cases)
    manifest = golden.manifest if all_kept else manifests.part(golden.manifest, selected)
    with replacing(folder) as new:
        for number, golden_case in enumerate(kept):
            layout.write(new, number, _data_set(golden, golden_case, complete, proto))
        if model is not None:
            (new / layout.MODEL).write_bytes(_bytes(model, proto))
        _write_beside(convertible, manifest, new)
    return len(kept), len(loaded) - len(kept)


def from_tests(path: Path, folder: Path) -> int:
    """Write the golden or bundle that the tests in ``path`` were made from to a new ``folder``.

    Return the number of its cases. UsageError where they were not made from one, GoldenError
    where a tensor was altered since.
    """
    _check_new(folder)
    if not has_golden(path):
        raise UsageError(
            f"{path} was made from no golden of ours (it has no {GOLDEN / store.MANIFEST});"
            " python -m harness.validate judges it as it is"
        )
    restored = read_golden(path)
    if not (path / BUNDLE).is_dir():
        store.copy(restored, folder)
        return len(restored.cases)
    with replacing(folder) as new:
        (new / bundle.MODEL).write_bytes(read_inside(path / layout.MODEL, path, MODEL_BYTES))
        for other in sorted((path / BUNDLE).iterdir()):
            (new / other.name).write_bytes(read_inside(other, path, MODEL_BYTES))
        store.copy(restored, new / bundle.GOLDEN)
        bundle.bind(new)
        bundle.read(new)
    return len(restored.cases)


def _check_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists; give a new folder")


def _model(path: Path, golden: Golden) -> Any:
    """Return the model in ``path``; UsageError for other inputs or outputs than the golden's."""
    try:
        proto = interface.read(str(path))
    except CheckError as error:
        raise UsageError(str(error)) from None
    expected = [t.name for t in golden.spec.inputs], [t.name for t in golden.spec.outputs]
    for kind, values, names in zip(("input", "output"), _values(proto), expected, strict=True):
        if sorted(values) != sorted(names):
            raise UsageError(
                f"{path}: {kind}s are {', '.join(values) or 'none'}; the golden has"
                f" {', '.join(names)}"
            )
    return proto


def _values(proto: Any) -> tuple[list[str], list[str]]:
    """Return the names of a graph's inputs, without those that are filled, and of its outputs."""
    inputs = [value.name for value in walk.inputs(proto.graph)]
    return inputs, [value.name for value in proto.graph.output]


def _bytes(path: Path, proto: Any) -> bytes:
    """Return the model's file as it is, or with its external data in it."""
    data = read_bytes(path, MODEL_BYTES)
    external = onnx.TensorProto.EXTERNAL
    stored = onnx.load_model_from_string(data)
    outside = any(tensor.data_location == external for tensor in tensors(stored))
    return bytes(proto.SerializeToString()) if outside else data


def _data_set(
    golden: Golden, golden_case: GoldenCase, complete: Complete | None, proto: Any
) -> dict[str, layout.Named]:
    """Return a case's tensors in the order of the model, or else of the specification."""
    spec = golden.spec
    inputs = [tensor.name for tensor in spec.inputs]
    outputs = [tensor.name for tensor in spec.outputs]
    if proto is not None:
        inputs, outputs = _values(proto)
    steps = golden_case.steps
    derived = complete(golden_case).outputs if complete and steps is not None else {}
    rounded: list[tuple[str, Array]] = []
    remainders: list[tuple[str, Array]] = []
    for name in outputs:
        tensor, stored = spec.output(name), golden_case.outputs[name]
        value = stored
        if steps is not None and tensor.step_axis is not None:
            value = np.array(derived[name])
            by_step, stored_steps = (np.moveaxis(v, tensor.step_axis, 0) for v in (value, stored))
            _check_agreement(golden_case, name, by_step[steps], stored_steps)
            by_step[steps] = stored_steps
        near, remainder = value.astype(tensor.dtype), _remainder(stored, tensor.dtype)
        rounded.append((name, near))
        remainders += [(name, remainder)] if stored.dtype != near.dtype else []
    named_inputs = [(name, golden_case.inputs[name]) for name in inputs]
    sums = [(name, about.sums) for name, about in golden_case.projections.items()]
    return {"input": named_inputs, "output": rounded, REMAINDER: remainders, PROJECTION: sums}


def _remainder(stored: Array, dtype: str) -> Array:
    """Return what rounding to ``dtype`` takes; zeros keep their sign, infinities have none."""
    with np.errstate(invalid="ignore", over="ignore"):
        near = stored.astype(dtype).astype(stored.dtype)
        remainder = np.where(near == stored, np.where(stored == 0, stored, 0), stored - near)
        lost = (near + remainder).tobytes() != stored.tobytes()
    if lost:
        raise UsageError(f"values up to {np.abs(stored).max():.3g} cannot be told as {dtype}")
    return np.asarray(remainder, stored.dtype)


def _check_agreement(golden_case: GoldenCase, name: str, derived: Array, stored: Array) -> None:
    scale = max(golden_case.scale.get(name, 0.0), float(np.abs(stored).max(initial=0.0)))
    apart = float(np.abs(derived - stored).max(initial=0.0))
    if not apart <= one_ulp(scale):
        raise UsageError(
            f"output {name} at {lengths_text(golden_case.case.lengths)}: what would complete it is"
            f" {apart:.2g} away from the golden at the steps that it holds; another model's golden?"
        )


def _completing(golden: Golden, proto: Any) -> Complete | None:
    """Return what derives every step of a case; None where neither oracle nor model can.

    It is the reference model's NumPy oracle, else the model in float64.
    """
    by_oracle: Complete | None = every_step.of(golden) if golden.has_weights else None
    if by_oracle is not None or proto is None:
        return by_oracle
    return partial(_by_graph, proto) if _opens(proto) else None


def _opens(proto: Any) -> bool:
    try:
        resolve(ORACLE).open(proto)
    except StageError:
        return False
    return True


def _by_graph(proto: Any, case: GoldenCase) -> GoldenCase:
    """Return a case with every step, by the model in float64.

    It runs in a child, for the graph may loop for ever; UsageError where it does.
    """
    try:
        outputs = call_in_child(
            IN_FLOAT64, _run, proto.SerializeToString(), case.inputs, forked=True
        )
    except (StageError, LostError) as error:
        raise UsageError(
            f"the model cannot be run in float64 to complete the outputs at"
            f" {lengths_text(case.case.lengths)}: {error}"
        ) from None
    return replace(case, outputs=outputs, steps=None, projections={})


def _run(emit: Any, model: bytes, inputs: Arrays) -> Arrays:
    return dict(resolve(ORACLE).open(onnx.load_model_from_string(model)).run(inputs))


def _write_beside(convertible: Convertible, manifest: Any, folder: Path) -> None:
    """Write what ONNX's layout has no place for."""
    (folder / GOLDEN).mkdir(parents=True)
    (folder / GOLDEN / store.MANIFEST).write_text(manifests.text(manifest), "utf-8")
    weights = present(convertible.golden.folder / WEIGHTS)
    if weights.is_file():
        data = read_inside(weights, weights.parent, TENSOR_BYTES)
        (folder / GOLDEN / weights.name).write_bytes(data)
    if convertible.others:
        (folder / BUNDLE).mkdir()
    for path in convertible.others:
        data = read_inside(path, path.parent, MODEL_BYTES)
        (folder / BUNDLE / path.name).write_bytes(data)
