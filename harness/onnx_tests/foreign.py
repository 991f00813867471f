"""ONNX tests of unknown origin as a golden: the stored outputs are the expected ones.

They are rounded to their own dtype. How far rounding alone may move an output is measured on the
graph itself (``harness.oracle.rounding``).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from harness.core.errors import CheckError, StageError, UsageError
from harness.core.names import check_printable, is_path_part
from harness.core.reading import TENSOR_BYTES, read_inside
from harness.core.schema import BATCH, Array, Arrays, Axis, Case, GoldenCase, ModelSpec, TensorSpec
from harness.goldens.form import WEIGHTS
from harness.goldens.noise_floor import DRAWS
from harness.goldens.store import Golden
from harness.graphs import interface
from harness.graphs.inference import dims_of
from harness.onnx_tests import layout
from harness.oracle.rounding import measure, noises
from harness.processes.limits import IN_FLOAT64
from harness.processes.worker import LostError, call_in_child

NUMBER = "test_data_set"
COMPARED = "bool, integers, float16, float32, float64 and strings"
Sets = Sequence[tuple[Arrays, Arrays]]


@dataclass(frozen=True)
class StoredGolden(Golden):
    """A golden that is in no store: ``sets`` hold its cases with their tensors."""

    sets: tuple[GoldenCase, ...] = ()

    @property
    def cases(self) -> list[Case]:
        return [golden_case.case for golden_case in self.sets]

    def load(self, case: Case) -> GoldenCase:
        return self._by_id[case.id]

    @cached_property
    def _by_id(self) -> dict[str, GoldenCase]:
        return {golden_case.case.id: golden_case for golden_case in self.sets}


@dataclass(frozen=True)
class Stored:
    """The golden, where its tolerance comes from, and why it cannot be judged if it cannot."""

    golden: StoredGolden
    evidence: Mapping[str, Any] = field(default_factory=dict)
    unavailable: str | None = None


def read(path: Path, model: Path) -> Stored:
    """Return the data sets in ``path`` as cases of ``model``.

    UsageError where a file cannot be read, or its tensors are not the model's inputs and outputs.
    An input or output that cannot be compared here makes the model ``unavailable``.
    """
    try:
        proto = interface.read(str(model))
    except CheckError as error:
        raise UsageError(str(error)) from None
    name = path.resolve().name
    if not is_path_part(name):
        name = re.sub(r"[^\w.-]+", "_", name).strip("._-") or "tests"
    if reason := _incomparable(proto):
        return Stored(_golden(path, ModelSpec(name, "", (), (), name), ()), {}, reason)
    for value in (*proto.graph.input, *proto.graph.output):
        check_printable(value.name, f"{model}: the name of an input or output")
    outputs, filled = proto.graph.output, {tensor.name for tensor in proto.graph.initializer}
    sets = [
        (_named(folder, "input", proto.graph.input, filled), _named(folder, "output", outputs))
        for folder in layout.data_sets(path)
    ]
    inputs = [value for value in proto.graph.input if value.name in sets[0][0]]
    axes = _axes([*inputs, *outputs], sets)
    spec = ModelSpec(
        name,
        "",
        tuple(TensorSpec(v.name, _dtype(v), axes[v.name]) for v in inputs),
        tuple(TensorSpec(v.name, _dtype(v), axes[v.name]) for v in outputs),
        name,
    )
    noise, evidence = _noise(model, sets)
    cases = [
        _case(spec, number, *arrays, noise[number] if noise else None)
        for number, arrays in enumerate(sets)
    ]
    return Stored(_golden(path, spec, cases), evidence)


def _golden(path: Path, spec: ModelSpec, cases: Sequence[GoldenCase]) -> StoredGolden:
    digest = hashlib.sha256()
    for file in (f for folder in layout.data_sets(path) for f in sorted(folder.glob("*.pb"))):
        digest.update(read_inside(file, path, TENSOR_BYTES))
    manifest = {
        "framework": "onnx",
        "weights": {"file": WEIGHTS, "tensors": {}},
        "sha256": digest.hexdigest(),
    }
    return StoredGolden(path, manifest, spec, {}, tuple(cases))


def _incomparable(proto: Any) -> str | None:
    """Return why no data set of the model can be judged here; None where each can."""
    for kind, values in (("input", proto.graph.input), ("output", proto.graph.output)):
        for value in values:
            which = value.type.WhichOneof("value")
            if which != "tensor_type":
                form = (which or "value of no type").replace("_type", "")
                return f"{kind} {value.name} is a {form}; only tensors can be given and compared"
            try:
                dtype = np.dtype(_dtype(value))
            except (KeyError, TypeError):
                return f"{kind} {value.name} is of no type that NumPy has"
            if dtype.kind not in "biufO" or dtype.isbuiltin != 1:
                return f"{kind} {value.name} is {dtype}; {COMPARED} are compared"
    return None


def _named(
    folder: Path, kind: str, values: Sequence[Any], optional: Set[str] = frozenset()
) -> Arrays:
    """Return a data set's tensors: by name where all have one of the model's, else by position.

    UsageError where they are not what the model declares.
    """
    tensors = layout.read(folder, kind)
    names = [value.name for value in values]
    counts = Counter(name for name, _ in tensors)
    by_name = set(counts) <= set(names) and max(counts.values(), default=1) == 1
    arrays = dict(tensors if by_name else zip(names, (v for _, v in tensors), strict=False))
    missing = [name for name in names if name not in arrays and name not in optional]
    if missing or len(tensors) > len(names):
        raise UsageError(
            f"{folder} has {len(tensors)} {kind}s; the model has {len(names)}: {', '.join(names)}"
        )
    for value in values:
        array = arrays.get(value.name)
        if array is not None and str(array.dtype) != _dtype(value):
            raise UsageError(
                f"{folder}: {kind} {value.name} is {array.dtype}; the model declares"
                f" {_dtype(value)}"
            )
    return arrays


def _dtype(value: Any) -> str:
    return str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _axes(values: Sequence[Any], sets: Sets) -> dict[str, tuple[Axis, ...]]:
    """Return the axes of every tensor.

    An axis is a size that is fixed, a symbol that has one size in each data set, or else a new
    name.
    """
    arrays = [{**inputs, **outputs} for inputs, outputs in sets]
    ranks = {value.name: {by_name[value.name].ndim for by_name in arrays} for value in values}
    for name, counts in ranks.items():
        if len(counts) > 1:
            raise UsageError(
                f"{name} has {sorted(counts)} axes in the data sets; expected one number"
            )
    declared = {value.name: _dims(value, *ranks[value.name]) for value in values}
    unclear = {""}
    for by_name in arrays:
        sizes: dict[str, int] = {}
        for name, dims in declared.items():
            for dim, size in zip(dims, by_name[name].shape, strict=True):
                if isinstance(dim, str) and sizes.setdefault(dim, size) != size:
                    unclear.add(dim)

    def axis(name: str, place: int, dim: Axis) -> Axis:
        fixed = all(by_name[name].shape[place] == dim for by_name in arrays)
        clear = isinstance(dim, str) and dim not in unclear and is_path_part(dim)
        return dim if fixed or clear else f"{name}.{place}"

    return {n: tuple(axis(n, i, d) for i, d in enumerate(dims)) for n, dims in declared.items()}


def _dims(value: Any, rank: int) -> list[Axis]:
    """Return the declared sizes and symbols, empty where there is none or the rank differs."""
    dims = dims_of(value.type) or ()
    if len(dims) != rank:
        return [""] * rank
    return ["" if dim is None else dim for dim in dims]


def _noise(model: Path, sets: Sets) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Return the noise of every output of every data set, and its source; none if it cannot run."""
    evidence: dict[str, Any] = {"reference": "the stored outputs"}
    try:
        measured = call_in_child(IN_FLOAT64, _measured, model, sets, forked=True)
    except (StageError, LostError) as error:
        floor = f"one ulp of each output's dtype, for the oracle cannot run the graph: {error}"
        return [], {**evidence, "noise_floor": floor}
    floor = f"the largest error of {DRAWS} runs of the graph in its own types"
    return measured, {**evidence, "noise_floor": floor}


def _measured(emit: Any, model: Path, sets: Sets) -> list[dict[str, float]]:
    """Return the noise of every output; in a child, for the graph may loop for ever."""
    return noises(measure(model, [inputs for inputs, _ in sets]))


def _case(
    spec: ModelSpec, number: int, inputs: Arrays, outputs: Arrays, noise: Mapping[str, float] | None
) -> GoldenCase:
    sizes: dict[str, int] = {}
    for tensor in (*spec.inputs, *spec.outputs):
        shape = {**inputs, **outputs}[tensor.name].shape
        sizes |= {a: n for a, n in zip(tensor.axes, shape, strict=True) if isinstance(a, str)}
    batch = sizes.pop(BATCH, 1)
    ulps = {name: _ulp(value) for name, value in outputs.items()}
    floor = {n: max(noise[n], ulp / 2) if noise else ulp for n, ulp in ulps.items()}
    error = {n: (noise[n] if noise else 0.0) + ulp / 2 for n, ulp in ulps.items()}
    case = Case({NUMBER: number, **sizes}, batch)
    return GoldenCase(case, inputs, outputs, None, floor, expected_error=error)


def _ulp(value: Array) -> float:
    """Return the distance from the largest finite float to the next; 0 for any other dtype."""
    if value.dtype.kind != "f":
        return 0.0
    largest = np.abs(value[np.isfinite(value)]).max(initial=np.finfo(value.dtype).tiny)
    return float(np.spacing(largest))
