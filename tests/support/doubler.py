"""A tiny conforming model and its golden, to plant faults in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.core.schema import Case, ModelSpec, TensorSpec
from harness.goldens import store
from harness.goldens.formulas import evaluate

FEATURES = 3
SPEC = ModelSpec(
    name="doubler",
    summary="y = 2 x, and the sum of y over time",
    inputs=(TensorSpec("x", "float32", ("batch", "sequence", FEATURES)),),
    outputs=(
        TensorSpec("y", "float32", ("batch", "sequence", FEATURES)),
        TensorSpec("total", "float32", ("batch", FEATURES)),
    ),
    weights="doubler",
)
CASES = [Case({"sequence": length}, batch) for length, batch in ((1, 2), (4, 1), (9, 3), (30, 2))]
NOISE = 1e-7


def graph(
    nodes: list[onnx.NodeProto] | None = None,
    outputs: list[tuple[str, int, list[str | int]]] | None = None,
    constants: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """The conforming graph, or one with other nodes, outputs (name, type, dims) and constants."""
    kept = {"two": np.float32(2), "axis": np.array([1]), **(constants or {})}
    model = helper.make_model(
        helper.make_graph(
            clean_nodes() if nodes is None else nodes,
            "doubler",
            [value("x", TensorProto.FLOAT, ["batch", "sequence", FEATURES])],
            [value(*output) for output in (outputs or OUTPUTS)],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in kept.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    model.ir_version = 8
    return model


OUTPUTS: list[tuple[str, int, list[str | int]]] = [
    ("y", TensorProto.FLOAT, ["batch", "sequence", FEATURES]),
    ("total", TensorProto.FLOAT, ["batch", FEATURES]),
]


def value(name: str, kind: int, dims: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def clean_nodes(y: str = "y", total: str = "total") -> list[onnx.NodeProto]:
    return [
        helper.make_node("Mul", ["x", "two"], [y]),
        helper.make_node("ReduceSum", [y, "axis"], [total], keepdims=0),
    ]


def recorded() -> list[store.RecordedCase]:
    """Every case, as the golden store takes it."""
    result = []
    for number, case in enumerate(CASES):
        shape = SPEC.inputs[0].shape(case.batch, case.lengths)
        formulas = {"x": {"seed": number, "low": 0.5, "high": 1.0}}
        inputs = {"x": evaluate(formulas["x"], shape, "float32")}
        y = 2 * inputs["x"].astype(np.float64)
        outputs = {"y": y, "total": y.sum(axis=1)}
        noise = {"y": NOISE, "total": NOISE * case.lengths["sequence"]}
        result.append(store.RecordedCase(case, formulas, inputs, outputs, None, noise))
    return result


def record(folder: Path, name: str = SPEC.name) -> Path:
    """Write the golden, of a model called ``name``, into ``folder``; returns it."""
    about = {"model": name, "framework": "torch", "seed": 0, "training": {}}
    store.write(folder, replace(SPEC, name=name), {"two": np.float32([2])}, recorded(), about)
    return folder
