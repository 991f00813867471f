"""Masked Keras models that tf2onnx unrolls into a Loop, beside their bare recurrent node.

Imports Keras and TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.core.schema import ModelSpec, TensorSpec
from harness.exporters.keras import native
from harness.exporters.stock import tf2onnx
from harness.graphs.example import example_inputs

LAYERS = ("LSTM", "GRU", "stacked cells")
UNITS = (8, 32, 128)
FEATURES = 16
WORDS = 50
OPSET = 18


def models() -> Iterator[tuple[str, int, dict[str, bytes]]]:
    """Yield layer, units, and the ONNX of native, stock tf2onnx and the bare node."""
    for layer in LAYERS:
        for units in UNITS:
            model, spec = _keras(layer, units), _spec(units)
            example = example_inputs(spec, avoid=(FEATURES, WORDS, units))
            built = {
                "native": native.export(model, spec, example, OPSET),
                "tf2onnx": tf2onnx.export(model, spec, example, OPSET),
                "bare": bare(layer, units),
            }
            yield layer, units, {name: m.SerializeToString() for name, m in built.items()}


def bare(layer: str, units: int) -> onnx.ModelProto:
    """Build tokens, an embedding and the recurrent node over it, without a mask."""
    rng = np.random.default_rng(units)
    op, gates = ("GRU", 3) if layer == "GRU" else ("LSTM", 4)
    weights: dict[str, tuple[int, ...]] = {"table": (WORDS, FEATURES)}
    nodes = [
        helper.make_node("Transpose", ["tokens"], ["steps"], perm=[1, 0]),
        helper.make_node("Gather", ["table", "steps"], ["x0"]),
    ]
    depth = 2 if layer == "stacked cells" else 1
    for i in range(depth):
        size = FEATURES if i == 0 else units
        weights |= {
            f"w{i}": (1, gates * units, size),
            f"r{i}": (1, gates * units, units),
            f"b{i}": (1, 2 * gates * units),
        }
        inputs = [f"x{i}", f"w{i}", f"r{i}", f"b{i}"]
        extra = {"linear_before_reset": 1} if op == "GRU" else {}
        nodes.append(helper.make_node(op, inputs, [f"y{i}"], hidden_size=units, **extra))
        nodes.append(helper.make_node("Squeeze", [f"y{i}", "one"], [f"x{i + 1}"]))
    nodes.append(helper.make_node("Transpose", [f"x{depth}"], ["y"], perm=[1, 0, 2]))
    constants = [numpy_helper.from_array(np.array([1]), "one")]
    for name, shape in weights.items():
        value = rng.uniform(-0.1, 0.1, shape).astype(np.float32)
        constants.append(numpy_helper.from_array(value, name))
    spec = _spec(units)
    tokens, y = spec.inputs[0], spec.outputs[0]
    graph = helper.make_graph(
        nodes,
        "bare",
        [helper.make_tensor_value_info("tokens", TensorProto.INT32, tokens.axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y.axes)],
        constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _spec(units: int) -> ModelSpec:
    tokens = TensorSpec("tokens", "int32", ("batch", "sequence"), low=1, high=WORDS)
    y = TensorSpec("y", "float32", ("batch", "sequence", units))
    return ModelSpec(
        "synthetic",
        summary="one masked layer",
        inputs=(tokens,),
        outputs=(y,),
        weights="synthetic",
        padded="tokens",
    )


def _keras(layer: str, units: int) -> keras.Model:
    keras.utils.set_random_seed(units)
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(WORDS, FEATURES, mask_zero=True)(tokens)
    recurrent = {
        "LSTM": lambda: keras.layers.LSTM(units, return_sequences=True),
        "GRU": lambda: keras.layers.GRU(units, return_sequences=True),
        "stacked cells": lambda: keras.layers.RNN(
            [keras.layers.LSTMCell(units) for _ in range(2)], return_sequences=True
        ),
    }[layer]()
    return keras.Model({"tokens": tokens}, {"y": recurrent(x)})
