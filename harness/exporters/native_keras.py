"""The native exporter for Keras 3 on TensorFlow: recurrent layers as LSTM, GRU and RNN nodes.

The model is traced once with its own names and dynamic axes, so that Keras itself resolves
masks, nesting and sharing; only what runs over time is replaced (``keras_layers``).

A stateful model has its state in the open: after the model's own inputs, the specification names
one input per state [batch, units], layer by layer, and after its own outputs one output per state
for the next ones, in the same order (h, then c for an LSTM).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.exporters.keras_layers import States, native_layers  # sets TensorFlow's log level
from harness.exporters.keras_signature import bind_inputs, flat_outputs
from harness.exporters.onnx_finish import finish
from harness.exporters.tf_to_onnx import Tensor, convert

import keras
import onnx
import tensorflow as tf

from harness.errors import ExportError, StageError, one_line
from harness.schema import Arrays, ModelSpec, TensorSpec


def export(
    model: keras.Model, spec: ModelSpec, example: Arrays, opset: int = 18
) -> onnx.ModelProto:
    """``model`` in inference mode as ONNX; ``example`` is not needed, nothing is sized by it."""
    layers = list(model._flatten_layers(include_self=True))
    _check(layers, model)
    stateful = [x for x in layers if isinstance(x, keras.layers.RNN) and x.stateful]
    states = [len(keras.tree.flatten(layer.states)) for layer in stateful]
    own = _own_inputs(spec, stateful, sum(states))

    def function(*tensors: Tensor) -> list[Tensor]:
        carried: States = {}
        remaining = iter(tensors[len(own) :])
        for layer, count in zip(stateful, states, strict=True):
            carried[id(layer)] = [next(remaining) for _ in range(count)]
        arguments, named = bind_inputs(model, own, tensors[: len(own)])
        with native_layers(carried):
            result = model(*arguments, **named, training=False)
        own_outputs = spec.outputs[: len(spec.outputs) - sum(states)]
        outputs = flat_outputs(result, own_outputs)
        outputs += [s for layer in stateful for s in carried[id(layer)]]
        return [tf.identity(output) for output in outputs]

    try:
        graph = convert(
            tf.function(function, autograph=False),
            [
                tf.TensorSpec([a if isinstance(a, int) else None for a in t.axes], t.dtype, t.name)
                for t in spec.inputs
            ],
        )
    except StageError:
        raise
    except Exception as error:
        raise ExportError(f"model {spec.name!r} cannot be traced: {one_line(error)}") from error
    made_by = {
        "exporter": "native/keras",
        "model": spec.name,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    return finish(graph, spec, opset, made_by)


def _check(layers: Sequence[Any], model: keras.Model) -> None:
    if not model.built:
        raise ExportError(f"model {model.name!r} has no weights yet; call it once on real inputs")
    for layer in layers:
        if layer.compute_dtype != "float32" and not isinstance(layer, keras.layers.InputLayer):
            raise ExportError(
                f"layer {layer.name!r}: computes in {layer.compute_dtype}; expected float32"
            )


def _own_inputs(
    spec: ModelSpec, stateful: Sequence[keras.layers.RNN], states: int
) -> tuple[TensorSpec, ...]:
    return spec.inputs[: len(spec.inputs) - states]
