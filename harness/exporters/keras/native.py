"""The native exporter for Keras 3 on TensorFlow: recurrent layers as LSTM, GRU and RNN nodes.

The model is traced once with its own names and dynamic axes, so that Keras itself resolves
masks, nesting and sharing; only what runs over time is replaced (``native_layers``).

The specification of a stateful model has, after the model's own inputs, one input per state
[batch, units], layer by layer, and after its own outputs one output per state for the next ones, in
the same order (h, then c for an LSTM).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import onnx
import tensorflow as tf
import tf2onnx
from keras.src.layers.rnn.conv_lstm import ConvLSTM

from harness.core import places
from harness.core.errors import ExportError, StageError, one_line
from harness.core.places import at
from harness.core.schema import BATCH, Arrays, ModelSpec, TensorSpec
from harness.exporters.finish import finish
from harness.exporters.keras.fourier import native_transforms
from harness.exporters.keras.layers import States, native_layers
from harness.exporters.keras.signature import bind_inputs, flat_outputs, tensor_specs
from harness.exporters.keras.tf_graph import Tensor, convert


def export(
    model: keras.Model, spec: ModelSpec, example: Arrays, opset: int = 18
) -> onnx.ModelProto:
    """Export ``model`` in inference mode; ``example`` is not needed: no size comes from it."""
    layers = list(model._flatten_layers(include_self=True))
    _check(model, layers)
    stateful = [x for x in layers if isinstance(x, keras.layers.RNN) and x.stateful]
    sizes = [[state.shape[-1] for state in keras.tree.flatten(x.states)] for x in stateful]
    inputs, outputs = _without_states(spec, stateful, [units for size in sizes for units in size])

    def function(*tensors: Tensor) -> list[Tensor]:
        remaining = iter(tensors[len(inputs) :])
        carried: States = {
            id(layer): [next(remaining) for _ in size]
            for layer, size in zip(stateful, sizes, strict=True)
        }
        arguments, named = bind_inputs(model, inputs, tensors[: len(inputs)])
        quiet = warnings.catch_warnings(action="ignore")
        with native_layers(carried), native_transforms(), _constants(layers), quiet:
            result = model(*arguments, **named, training=False)
        states = [state for layer in stateful for state in carried[id(layer)]]
        return [tf.identity(output) for output in (*flat_outputs(result, outputs), *states)]

    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()  # it would rewrite an ExportError's one line
    try:
        graph = convert(tf.function(function, autograph=False), tensor_specs(spec.inputs))
    except StageError:
        raise
    except Exception as error:
        place = at(places.of_error(error))
        raise ExportError(
            f"model {spec.name!r} cannot be traced: {one_line(error)}{place}; write it with"
            " keras.ops on tensors alone"
        ) from error
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()
    metadata = {
        "exporter": "native/keras",
        "model": spec.name,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "tf2onnx": tf2onnx.__version__,
    }
    return finish(graph, spec, opset, metadata, any(isinstance(x, ConvLSTM) for x in layers))


@contextmanager
def _constants(layers: Iterable[Any]) -> Iterator[None]:
    """Let tensors that layers hold in attributes, such as an adapted mean, be constants.

    A function that captures one would have it as an input.
    """
    held = [
        (layer, name, value)
        for layer in layers
        for name, value in vars(layer).items()
        if isinstance(value, tf.Tensor) and hasattr(value, "numpy")
    ]
    try:
        for layer, name, value in held:
            setattr(layer, name, tf.constant(value.numpy()))
        yield
    finally:
        for layer, name, value in held:
            setattr(layer, name, value)


def _check(model: keras.Model, layers: Iterable[Any]) -> None:
    if keras.backend.backend() != "tensorflow":
        raise ExportError(f"Keras runs on {keras.backend.backend()}; expected tensorflow")
    if not model.built:
        raise ExportError(f"model {model.name!r} has no weights yet; call it once on real inputs")
    for layer in layers:
        if layer.compute_dtype != "float32" and not isinstance(layer, keras.layers.InputLayer):
            raise ExportError(
                f"layer {layer.name!r}: computes in {layer.compute_dtype}; expected float32"
            )


def _without_states(
    spec: ModelSpec, stateful: Sequence[keras.layers.RNN], sizes: Sequence[int]
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the model's own inputs and outputs; ExportError where states are not specified."""
    count = len(sizes)
    states = [(BATCH, size) for size in sizes]
    for kind, tensors in (("inputs", spec.inputs), ("outputs", spec.outputs)):
        if [t.axes for t in tensors[len(tensors) - count :]] != states:
            raise ExportError(
                f"layer {stateful[0].name!r} is stateful: expected the specification's {kind} to "
                f"end with the states {states}, got {[t.axes for t in tensors]}"
            )
    return spec.inputs[: len(spec.inputs) - count], spec.outputs[: len(spec.outputs) - count]
