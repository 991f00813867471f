"""A tiny masked LSTM with its states as inputs and outputs, and runtimes that break one relation.

``graph`` is right where padding stands at the end of a row; a fault is built in by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.core.errors import RunError
from harness.core.schema import Array, Arrays, Case, ModelSpec, Raggedness, TensorSpec
from harness.goldens import store
from harness.goldens.formulas import evaluate
from harness.runtimes.ort import CPU

IDS, FEATURES, UNITS = 9, 4, 3
SPEC = ModelSpec(
    name="recurrence",
    summary="masked Embedding, LSTM(3) with its state given",
    inputs=(
        TensorSpec("tokens", "int32", ("batch", "sequence"), low=1, high=IDS),
        TensorSpec("h0", "float32", ("batch", UNITS)),
        TensorSpec("c0", "float32", ("batch", UNITS)),
    ),
    outputs=(
        TensorSpec("y", "float32", ("batch", "sequence", UNITS)),
        TensorSpec("h", "float32", ("batch", UNITS)),
        TensorSpec("c", "float32", ("batch", UNITS)),
    ),
    weights="recurrence",
    padded="tokens",
    states={"h0": "h", "c0": "c"},
)
CASES = [
    Case({"sequence": 1}, 2),
    Case({"sequence": 2}, 1),
    Case({"sequence": 7}, 3),
    Case({"sequence": 8}, 2, Raggedness.RIGHT),
    Case({"sequence": 30}, 3, Raggedness.RIGHT),
]
NOISE = 1e-7
FAULTS = (
    "rows-mixed",
    "lengths-ignored",
    "padding-summed",
    "state-ignored",
    "states-swapped",
    "empty-row-reset",
)


def graph(fault: str = "", repeats: bool = False) -> onnx.ModelProto:
    """The conforming graph, or one with a fault of ``FAULTS``.

    With ``repeats`` a padded step yields the row's last valid output, without it zero.
    """
    rng = np.random.default_rng(3)
    table = rng.uniform(-1, 1, (IDS, FEATURES)).astype(np.float32)
    table[0] = 0
    constants = {
        "table": table,
        "W": rng.uniform(-1, 1, (1, 4 * UNITS, FEATURES)).astype(np.float32),
        "R": rng.uniform(-1, 1, (1, 4 * UNITS, UNITS)).astype(np.float32),
        "B": rng.uniform(-1, 1, (1, 8 * UNITS)).astype(np.float32),
        "zero": np.int32(0),
        "first": np.array([0]),
        "second": np.array([1]),
        "third": np.array([2]),
        "ends": np.array([1, 2]),
        "yes": np.array([True]),
        "little": np.float32(1e-3),
        "nothing": np.float32(0),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "tokens"], ["x"]),
        node("Transpose", ["x"], ["by_step"], perm=[1, 0, 2]),
        node("Equal", ["tokens", "zero"], ["padding"]),
        node("Not", ["padding"], ["valid"]),
        node("Cast", ["valid"], ["ones"], to=TensorProto.INT32),
        node("ReduceSum", ["ones", "second"], ["lens"], keepdims=0),
        node("Mul", ["h0", "nothing"], ["no_h0"]),
        node("Unsqueeze", ["no_h0" if fault == "state-ignored" else "h0", "first"], ["h_in"]),
        node("Unsqueeze", ["c0", "first"], ["c_in"]),
        node(
            "LSTM",
            [
                "by_step",
                "W",
                "R",
                "B",
                "" if fault == "lengths-ignored" else "lens",
                "h_in",
                "c_in",
            ],
            ["Y", "Y_h", "Y_c"],
            hidden_size=UNITS,
        ),
        node("Squeeze", ["Y", "second"], ["steps"]),
        node("Transpose", ["steps"], ["rows"], perm=[1, 0, 2]),
    ]
    added = "nothing"
    if fault == "rows-mixed":
        nodes.append(node("ReduceMean", ["rows", "first"], ["mean"], keepdims=1))
        nodes.append(node("Mul", ["mean", "little"], ["added"]))
        added = "added"
    if repeats:
        nodes += [
            node("Unsqueeze", ["valid", "third"], ["valid_steps"]),
            node("Squeeze", ["Y_h", "first"], ["last"]),
            node("Unsqueeze", ["last", "second"], ["last_step"]),
            node("Where", ["valid_steps", "rows", "last_step"], ["filled"]),
        ]
    nodes.append(node("Add", ["filled" if repeats else "rows", added], ["y"]))
    h, c = ("Y_c", "Y_h") if fault == "states-swapped" else ("Y_h", "Y_c")
    nodes += [
        node("Squeeze", [c, "first"], ["c_end"]),
        node("Squeeze", [h, "first"], ["h_end"]),
        node("Greater", ["lens", "zero"], ["any_row"]),
        node("Unsqueeze", ["any_row", "second"], ["any"]),
        node("Where", ["any", "c_end", "c0"], ["c"]),
        node("Where", ["any" if fault != "empty-row-reset" else "yes", "h_end", "h0"], ["h_"]),
    ]
    added = "nothing"
    if fault == "padding-summed":
        nodes.append(node("ReduceSum", ["x", "ends"], ["sum"], keepdims=1))
        nodes.append(node("Squeeze", ["sum", "second"], ["sum_row"]))
        nodes.append(node("Mul", ["sum_row", "little"], ["sum_added"]))
        added = "sum_added"
    nodes.append(node("Add", ["h_", added], ["h"]))
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "recurrence",
            [_value(tensor) for tensor in SPEC.inputs],
            [_value(tensor) for tensor in SPEC.outputs],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    model.ir_version = 8
    return model


def _value(tensor: TensorSpec) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, kind, tensor.axes)


def record(folder: Path, model: onnx.ModelProto, cases: list[Case] | None = None) -> Path:
    """Save ``model`` as ``folder``/model.onnx and its own outputs as ``folder``/golden.

    Returns the model's path.
    """
    path = folder / "model.onnx"
    onnx.save(model, path)
    session = CPU.prepare(str(path))
    recorded = []
    for number, case in enumerate(CASES if cases is None else cases):
        formulas: dict[str, dict[str, Any]] = {
            t.name: {"seed": 3 * number + i, "low": t.low, "high": t.high}
            for i, t in enumerate(SPEC.inputs)
        }
        if case.raggedness is not Raggedness.NONE:
            steps = case.lengths["sequence"]
            counts = [1 + (steps - 1) * row // case.batch for row in range(case.batch)]
            formulas["tokens"] |= {"raggedness": case.raggedness.value, "counts": counts}
        inputs = {
            t.name: evaluate(formulas[t.name], t.shape(case.batch, case.lengths), t.dtype)
            for t in SPEC.inputs
        }
        outputs = {name: v.astype(np.float64) for name, v in session.run(inputs)}
        noise = dict.fromkeys(outputs, NOISE)
        recorded.append(store.RecordedCase(case, formulas, inputs, outputs, None, noise))
    about = {"model": SPEC.name, "framework": "torch", "seed": 0, "training": {}}
    store.write(folder / "golden", SPEC, {"w": np.float32([1])}, recorded, about)
    return path


Outputs = list[tuple[str, Array]]


@dataclass
class Session:
    """ONNX Runtime's outputs, changed by what the session has been given so far."""

    inner: Any
    change: Callable[[list[Arrays], Outputs], Outputs]
    given: list[Arrays] = field(default_factory=list)

    def run(self, inputs: Arrays) -> Outputs:
        self.given.append({name: value.copy() for name, value in inputs.items()})
        return self.change(self.given, self.inner.run(inputs))

    def evidence(self) -> dict[str, Any]:
        return {"version": "planted"}


@dataclass(frozen=True)
class Runtime:
    """ONNX Runtime on the CPU with a change to its graphs or to its outputs."""

    change: Callable[[list[Arrays], Outputs], Outputs] = lambda given, outputs: outputs
    edit: Callable[[onnx.ModelProto], None] = lambda model: None

    def check(self) -> str | None:
        return None

    def version(self) -> str:
        return "planted"

    def prepare(self, path: str) -> Session:
        model = onnx.load(path)
        self.edit(model)
        edited = Path(path).with_name("edited.onnx")
        onnx.save(model, edited)
        return Session(CPU.prepare(str(edited)), self.change)


def one_bit(outputs: Outputs) -> Outputs:
    (name, value), *others = outputs
    changed = value.copy()
    changed.flat[0] = np.nextafter(changed.flat[0], np.float32(9))
    return [(name, changed), *others]


def _same(one: Arrays, other: Arrays) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def _one_direction(model: onnx.ModelProto) -> None:
    for attribute in (a for node in model.graph.node for a in node.attribute):
        if attribute.name == "direction":
            attribute.s = b"forward"


def _refuses_one_row(given: list[Arrays], outputs: Outputs) -> Outputs:
    if len(given[-1]["tokens"]) == 1 and given[-1]["tokens"].shape[1] == 7:
        raise RunError("a batch of one")
    return outputs


def _loses_the_batch(given: list[Arrays], outputs: Outputs) -> Outputs:
    return [(n, v[0]) for n, v in outputs] if len(given[-1]["tokens"]) == 1 else outputs


class _Reused:
    """Writes every run's outputs of one shape into the same memory, one bit off every other run."""

    def __init__(self) -> None:
        self.kept: dict[tuple[Any, ...], Array] = {}

    def __call__(self, given: list[Arrays], outputs: Outputs) -> Outputs:
        again = one_bit(outputs) if len(given) % 2 else outputs
        for name, value in again:
            self.kept.setdefault((name, value.shape), value.copy())[...] = value
        return [(name, self.kept[name, value.shape]) for name, value in again]


CLEAN = Runtime()
FORGETS_DIRECTION = Runtime(edit=_one_direction)
LEAKS = Runtime(
    lambda given, outputs: (
        one_bit(outputs)
        if any(g["tokens"].shape[1] > given[-1]["tokens"].shape[1] for g in given)
        else outputs
    )
)
WAVERS = Runtime(
    lambda given, outputs: one_bit(outputs) if len(given) > 1 and _same(*given[-2:]) else outputs
)
REUSES = Runtime(_Reused())
REFUSES = Runtime(_refuses_one_row)
LOSES_THE_BATCH = Runtime(_loses_the_batch)
