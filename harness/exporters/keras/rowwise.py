"""Keras layers that treat every row separately, traced as few ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from harness.core.errors import ExportError
from harness.exporters.keras.tf_graph import Tensor, node


def _dense(self: layers.Dense, inputs: Tensor, training: Any = None) -> Tensor:
    """Trace as one ``MatMul`` at any rank: TensorFlow folds the leading axes and unfolds them."""
    y = node("MatMul", inputs, tf.convert_to_tensor(self.kernel))
    if self.bias is not None:
        y = y + self.bias
    return y if self.activation is None else self.activation(y)


def _embedding(self: layers.Embedding, inputs: Tensor) -> Tensor:
    """Trace as ``Gather``, which like the layer counts a negative id from the table's end."""
    ids = inputs if inputs.dtype in (tf.int32, tf.int64) else tf.cast(inputs, tf.int32)
    return node("Gather", tf.convert_to_tensor(self.embeddings), ids)


def _repeat_vector(self: layers.RepeatVector, inputs: Tensor) -> Tensor:
    return node("Expand", node("Unsqueeze", inputs, np.array([1])), np.array([1, self.n, 1]))


def _time_distributed(
    self: layers.TimeDistributed, inputs: Tensor, training: Any = None, mask: Any = None
) -> Tensor:
    """Trace the wrapped layer on every step at once: time joins the batch, whose rows are separate.

    Keras' graph mode loops over the batch size instead of the steps; eager Keras does not.
    """
    layer = self.layer
    _check_rowwise(self, layer)
    if type(layer) is layers.Dense:
        return layer.call(inputs)
    kwargs: dict[str, Any] = {}
    if layer._call_has_training_arg:
        kwargs["training"] = training
    if layer._call_has_mask_arg and mask is not None:
        kwargs["mask"] = _fold(mask)
    folded = layer.call(_fold(inputs), **kwargs)
    return keras.tree.map_structure(lambda y: _unfold(y, inputs), folded)


def _check_rowwise(wrapper: layers.TimeDistributed, layer: Any) -> None:
    for part in layer._flatten_layers(include_self=True):
        function = getattr(part, "activation", None)
        foreign = not type(part).__module__.startswith("keras.") or isinstance(part, layers.Lambda)
        if foreign or not getattr(function, "__module__", "keras.").startswith("keras."):
            raise ExportError(
                f"layer {wrapper.name!r}: TimeDistributed of {type(part).__name__} {part.name!r} "
                "cannot be exported: its own code may mix rows; expected layers of Keras only"
            )
        if getattr(part, "stateful", False):
            raise ExportError(
                f"layer {wrapper.name!r}: TimeDistributed of the stateful layer {part.name!r} "
                "cannot be exported: its state would pass from step to step"
            )


def _fold(x: Tensor) -> Tensor:
    """Return [batch, steps, ...] as [batch * steps, ...]."""
    sizes = list(x.shape[2:])
    if None not in sizes:
        return node("Reshape", x, np.array([-1, *sizes]))
    shape = node("Concat", np.array([-1]), node("Shape", x, start=2), axis=0)
    return tf.ensure_shape(node("Reshape", x, shape), [None, *sizes])


def _unfold(y: Tensor, like: Tensor) -> Tensor:
    """Return [batch * steps, ...] as [batch, steps, ...], with batch and steps from ``like``."""
    shape = node("Concat", node("Shape", like, end=2), node("Shape", y, start=1), axis=0)
    return tf.ensure_shape(node("Reshape", y, shape), [*like.shape[:2], *y.shape[1:]])


ROWWISE: dict[type, Callable[..., Any]] = {
    layers.Dense: _dense,
    layers.Embedding: _embedding,
    layers.RepeatVector: _repeat_vector,
    layers.TimeDistributed: _time_distributed,
}
