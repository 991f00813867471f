"""Small ONNX files for tests of runtimes."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto
from onnx import helper as oh
from onnx import numpy_helper as nh

UNITS, FEATURES = 4, 3


def save(path: Path, nodes, inputs, outputs, constants=()) -> str:
    """``inputs`` and ``outputs`` are (name, TensorProto element type, shape)."""
    made = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info(*tensor) for tensor in inputs],
        [oh.make_tensor_value_info(*tensor) for tensor in outputs],
        [nh.from_array(value, name) for name, value in constants],
    )
    model = oh.make_model(made, opset_imports=[oh.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return str(path)


def mixed(path: Path, op: str = "Add") -> str:
    """x float32 and n int64, both [batch, sequence], to doubled = n + n, sum = op(x, x), a = -x."""
    shape = ["batch", "sequence"]
    nodes = [
        oh.make_node("Add", ["n", "n"], ["doubled"]),
        oh.make_node(op, ["x", "x"], ["sum"]),
        oh.make_node("Neg", ["x"], ["a"]),
    ]
    inputs = [("n", TensorProto.INT64, shape), ("x", TensorProto.FLOAT, shape)]
    outputs = [("doubled", TensorProto.INT64, shape)]
    outputs += [(name, TensorProto.FLOAT, shape) for name in ("sum", "a")]
    return save(path, nodes, inputs, outputs)


def lstm(path: Path, lengths: bool = False) -> str:
    """x [sequence, batch, 3] to y and h of an LSTM of 4 units; ``lengths`` adds sequence_lens."""
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 16, FEATURES), "R": (1, 16, UNITS), "B": (1, 32)}
    constants = [(n, rng.normal(size=s).astype(np.float32)) for n, s in shapes.items()]
    taken = ["x", "W", "R", "B", *(["lens"] if lengths else [])]
    node = oh.make_node("LSTM", taken, ["y", "h"], hidden_size=UNITS)
    inputs = [("x", TensorProto.FLOAT, ["sequence", "batch", FEATURES])]
    inputs += [("lens", TensorProto.INT32, ["batch"])] if lengths else []
    outputs = [("y", TensorProto.FLOAT, ["sequence", 1, "batch", UNITS])]
    outputs += [("h", TensorProto.FLOAT, [1, "batch", UNITS])]
    return save(path, [node], inputs, outputs, constants)


def cell(op_type="GRU", opset=18, dtype=np.float32, features=3, units=4, **attributes):
    """x through one recurrent node with constant weights, then Sqrt of its output."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type]
    elem = oh.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights = {"w": (1, gates * units, features), "r": (1, gates * units, units)}
    graph = oh.make_graph(
        [
            oh.make_node(op_type, ["x", "w", "r"], ["h"], "cell", hidden_size=units, **attributes),
            oh.make_node("Sqrt", ["h"], ["y"], "root"),
        ],
        "g",
        [oh.make_tensor_value_info("x", elem, ["sequence", "batch", features])],
        [oh.make_tensor_value_info("y", elem, ["sequence", 1, "batch", units])],
        [nh.from_array(np.ones(s, dtype), n) for n, s in weights.items()],
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", opset)], ir_version=10)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    """Write a model to ``path``, which is returned."""
    onnx.save(model, path)
    return path
