"""Means over the valid steps, whatever tells which they are, and a golden of each.

The steps are ids that are looked up, or frames of floats. Padding is an id or a frame that is set
aside, or a mask or the rows' lengths tell of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.core.schema import Case, ModelSpec, Raggedness, TensorSpec
from harness.goldens import store
from harness.goldens.formulas import evaluate
from harness.runtimes.ort import CPU
from reference_models import cases

ROWS, WIDTH = 50, 4
STEPS = ("batch", "sequence")
IDS = TensorSpec("ids", "int64", STEPS, 0, ROWS - 1)
FRAMES = TensorSpec("frames", "float32", (*STEPS, WIDTH))
MASK = TensorSpec("mask", "bool", STEPS, 0, 2)
LENS = TensorSpec("lens", "int32", ("batch",), 0, 2)
LIKE = {
    "zero": ((TensorSpec("ids", "int64", STEPS, 1, ROWS),), {"padded": "ids"}),
    "last id": ((IDS,), {"padded": "ids", "padding": ROWS - 1}),
    "negative": ((IDS,), {"padded": "ids", "padding": -1}),
    "frames": ((FRAMES,), {"padded": "frames", "padding": -10.5}),
    "mask beside": (
        (MASK, IDS),
        {"padded": "ids", "padding": ROWS - 1, "masks": {"mask": "sequence"}},
    ),
    "mask": ((FRAMES, MASK), {"masks": {"mask": "sequence"}}),
    "lengths": ((FRAMES, LENS), {"lengths": {"lens": "sequence"}}),
}
CASES = [
    Case({"sequence": length}, batch, kind)
    for length, batch in ((1, 2), (7, 3))
    for kind in Raggedness
    if length > 1 or kind in (Raggedness.NONE, Raggedness.EMPTY)
]


def spec(like: str) -> ModelSpec:
    inputs, about = LIKE[like]
    outputs = (
        TensorSpec("mean", "float32", ("batch", WIDTH)),
        TensorSpec("y", "float32", (*STEPS, WIDTH)),
    )
    return ModelSpec("mean", "the mean of valid steps", inputs, outputs, "mean", **about)


def inputs(like: str, case: Case, seed: int = 3) -> dict[str, np.ndarray]:
    """What a golden of this case holds."""
    formulas = cases.formulas(spec(like), case, seed)
    return {
        t.name: evaluate(formulas[t.name], t.shape(case.batch, case.lengths), t.dtype)
        for t in spec(like).inputs
    }


def graph(like: str, every_step: bool = False) -> onnx.ModelProto:
    """The mean over valid steps and each step, zero where it is padded; or all as if valid."""
    described = spec(like)
    names = [tensor.name for tensor in described.inputs]
    node = helper.make_node
    nodes = [node("Gather", ["table", "ids"], ["steps"])] if "ids" in names else []
    steps = "steps" if nodes else "frames"
    if "mask" in names:
        nodes.append(node("Identity", ["mask"], ["valid"]))
    elif "lens" in names:
        nodes += [
            node("Shape", [steps], ["count"], start=1, end=2),
            node("Squeeze", ["count"], ["scalar"]),
            node("Range", ["none", "scalar", "one"], ["places"]),
            node("Cast", ["lens"], ["whole"], to=TensorProto.INT64),
            node("Unsqueeze", ["whole", "1"], ["row"]),
            node("Less", ["places", "row"], ["valid"]),
        ]
    else:
        nodes += [node("Equal", [described.padded, "padding"], ["same"])]
        nodes += [node("Not", ["same"], ["valid" if "ids" in names else "other"])]
    if described.padded == "frames":
        nodes += [
            node("Cast", ["other"], ["counted"], to=TensorProto.INT32),
            node("ReduceMax", ["counted", "2"], ["some"], keepdims=0),
            node("Cast", ["some"], ["valid"], to=TensorProto.BOOL),
        ]
    nodes += [
        node("Not", ["valid"], ["padded"]),
        node("Or", ["valid", "padded" if every_step else "valid"], ["taken"]),
        node("Unsqueeze", ["taken", "2"], ["where"]),
        node("Where", ["where", steps, "zero"], ["y"]),
        node("ReduceSum", ["y", "1"], ["sum"], keepdims=0),
        node("Cast", ["where"], ["ones"], to=TensorProto.FLOAT),
        node("ReduceSum", ["ones", "1"], ["number"], keepdims=0),
        node("Max", ["number", "unit"], ["least"]),
        node("Div", ["sum", "least"], ["mean"]),
    ]
    dtype = "float32" if described.padded == "frames" else "int64"
    kept = {
        "table": np.random.default_rng(1).uniform(-1, 1, (ROWS, WIDTH)).astype(np.float32),
        "padding": np.asarray(described.padding, dtype),
        "none": np.int64(0),
        "one": np.int64(1),
        "1": np.array([1]),
        "2": np.array([2]),
        "zero": np.float32(0),
        "unit": np.float32(1),
    }
    read = {name for each in nodes for name in each.input}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "mean",
            [_value(tensor) for tensor in described.inputs],
            [_value(tensor) for tensor in described.outputs],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in kept.items() if k in read],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    model.ir_version = 8
    return model


def record(folder: Path, like: str, every_step: bool = False) -> Path:
    """Save the graph as ``folder``/model.onnx and its outputs as ``folder``/golden.

    Returns the model's path.
    """
    path = folder / "model.onnx"
    onnx.save(graph(like, every_step), path)
    session = CPU.prepare(str(path))
    recorded = []
    for case in CASES:
        if case.raggedness in spec(like).raggedness:
            given = inputs(like, case)
            outputs = {name: v.astype(np.float64) for name, v in session.run(given)}
            noise = dict.fromkeys(outputs, 1e-7)
            formulas = cases.formulas(spec(like), case, 3)
            recorded.append(store.RecordedCase(case, formulas, given, outputs, None, noise))
    about = {"model": "mean", "framework": "torch", "seed": 0, "training": {}}
    store.write(folder / "golden", spec(like), {}, recorded, about)
    return path


def _value(tensor: TensorSpec) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, kind, tensor.axes)
