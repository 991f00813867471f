"""The native Keras exporter: every layer that it covers, against Keras at float32 and float64."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tensorflow as tf
from onnx.reference import ReferenceEvaluator

from harness.exporters.native_keras import export
from harness.exporters.onnx_finish import OPSETS
from harness.schema import Raggedness, TensorSpec
from tests.support.keras_rows import FEATURES, ROWS, UNITS, TwoParts
from tests.support.keras_specs import MASKS, draw, model_spec, randomise, spec_of, tensor

K = 8.0
CONTROL_FLOW = {"Loop", "Scan", "If"}
UNNAMED = {
    "subclassed": model_spec(
        "subclassed",
        [tensor("x", (None, None, FEATURES), "float32")],
        [
            tensor("y", (None, None, 3), "float32"),
            tensor("h", (None, UNITS), "float32"),
            tensor("c", (None, UNITS), "float32"),
        ],
    ),
    "subclassed-two_parameters": model_spec(
        "two_parameters",
        [
            tensor("b", (None, None, FEATURES), "float32", "b_length"),
            tensor("a", (None, None, FEATURES), "float32", "a_length"),
        ],
        [tensor("sum", (None, UNITS), "float32")],
    ),
}


def build(row, dtype, weights=None):
    keras.config.set_dtype_policy(dtype)
    keras.config.set_floatx(dtype)
    try:
        keras.utils.set_random_seed(1)
        model = ROWS[row]()
        if weights is None:
            # Unbounded gates need small weights, or the state grows without end.
            scale = 0.1 if row.endswith("activations") else 0.3
            randomise(model, np.random.default_rng(len(row)), scale)
        else:
            model.set_weights(weights)
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_floatx("float32")
    return model


def eager(model, inputs, dtype="float32"):
    """Keras' own outputs for inputs by name, flat; a dict's in the order it is written."""
    return [np.asarray(value) for value in forward(model, cast(inputs, dtype))]


def compiled(model, inputs, dtype="float32"):
    """As ``eager``, many steps faster: traced once for all lengths and batches."""
    tensors = cast(inputs, dtype)
    if not hasattr(model, "_compiled"):
        signature = {
            name: tf.TensorSpec([None, *([None] * (len(t.shape) > 1)), *t.shape[2:]], t.dtype)
            if len(t.shape) > 2 or t.dtype == tf.int32
            else tf.TensorSpec([None, *t.shape[1:]], t.dtype)
            for name, t in tensors.items()
        }
        model._compiled = tf.function(
            lambda given: forward(model, given), input_signature=[signature], autograph=False
        )
    return [value.numpy() for value in model._compiled(tensors)]


def cast(inputs, dtype):
    floats = {n: v.astype(dtype) if v.dtype == np.float32 else v for n, v in inputs.items()}
    return {n: tf.convert_to_tensor(v) for n, v in floats.items()}


def forward(model, tensors):
    if isinstance(model, TwoParts):
        result = model(**tensors)
    elif set(tensors) == {"a", "b"}:
        result = model(tensors)
    else:
        values = list(tensors.values())
        result = model(values if len(values) > 1 else values[0], training=False)
    return list(result.values()) if isinstance(result, dict) else keras.tree.flatten(result)


def session(graph):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def excess(got, near, exact):
    """Error over tolerance: K times what rounding explains, measured against float64."""
    assert len(got) == len(near) == len(exact)
    worst = 0.0
    for g, n, e in zip(got, near, exact, strict=True):
        assert g.shape == e.shape
        assert g.dtype == n.dtype
        assert np.array_equal(np.isnan(g), np.isnan(e))
        scale = np.abs(e[np.isfinite(e)]).max(initial=0.0)
        floor = max(np.nanmax(np.abs(n - e)), np.spacing(np.float32(scale)))
        worst = max(worst, float(np.nanmax(np.abs(g - e)) / (K * floor)))
    return worst


def cases(row, longest):
    rng = np.random.default_rng(sum(map(ord, row)))
    lengths = [1, *rng.integers(2, min(34, longest), len(MASKS) - 1)]
    for index, (mask, steps) in enumerate(zip(MASKS, lengths, strict=True)):
        yield rng, (1, 2, 5)[index % 3], int(steps), mask
    yield rng, 2, 3, Raggedness.GAPPED
    yield rng, 1, longest, Raggedness.RIGHT


@pytest.mark.parametrize("row", ROWS)
def test_every_layer_computes_what_keras_does(row):
    model = build(row, "float32")
    exact = build(row, "float64", model.get_weights())
    spec = UNNAMED.get(row) or spec_of(model)
    graph = export(model, spec, {}, 18)
    assert not {node.op_type for node in graph.graph.node} & CONTROL_FLOW
    runner = session(graph)
    # Keras' graph mode runs TimeDistributed over the batch instead of the steps.
    fast, longest = (eager, 12) if row.startswith("time_distributed") else (compiled, 300)
    worst = 0.0
    for rng, batch, steps, mask in cases(row, longest):
        inputs = draw(spec, rng, batch, steps, mask)
        near = (eager if steps < 4 else fast)(model, inputs)
        worst = max(worst, excess(runner.run(None, inputs), near, fast(exact, inputs, "float64")))
    print(f"{row}: {worst:.3f} of its tolerance")
    assert worst <= 1
