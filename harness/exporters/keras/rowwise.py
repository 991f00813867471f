"""Keras layers that treat every row separately, traced as few ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from harness.core import places
from harness.core.errors import ExportError
from harness.core.places import at
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


def _mel_spectrogram(self: layers.MelSpectrogram, inputs: Tensor) -> Tensor:
    """Trace the transform of every frame as one ``Conv``: ONNX's own one fits no frame axis."""
    if len(inputs.shape) != 2:
        raise ExportError(f"layer {self.name!r}: expected [batch, samples], got {inputs.shape}")
    size, half = self.fft_length, self.fft_length // 2
    with tf.init_scope():
        parts = keras.ops.stft(
            np.eye(size), self.sequence_length, self.sequence_stride, size, self.window, False
        )
        kernel = np.concatenate([np.asarray(part)[:, 0].T for part in parts])
        matrix = self.linear_to_mel_weight_matrix(
            num_mel_bins=self.num_mel_bins,
            num_spectrogram_bins=half + 1,
            sampling_rate=self.sampling_rate,
            lower_edge_hertz=self.min_freq,
            upper_edge_hertz=self.max_freq,
        )
        matrix = np.asarray(matrix)
    padded = node("Pad", inputs, np.array([0, half, 0, half]), mode="reflect")
    waves = node(
        "Conv",
        node("Unsqueeze", padded, np.array([1])),
        kernel[:, None].astype(np.float32),
        strides=[self.sequence_stride],
    )
    real, imaginary = tf.split(node("Transpose", waves, perm=[0, 2, 1]), 2, axis=-1)
    spectrum = tf.pow(tf.sqrt(tf.square(real) + tf.square(imaginary)), self.mag_exp)
    y = node("MatMul", spectrum, matrix)
    return node("Transpose", self._dbscale(y) if self.power_to_db else y, perm=[0, 2, 1])


def _check_rowwise(wrapper: layers.TimeDistributed, layer: Any) -> None:
    for part in layer._flatten_layers(include_self=True):
        function = getattr(part, "activation", None)
        foreign = not type(part).__module__.startswith("keras.") or isinstance(part, layers.Lambda)
        if foreign or not getattr(function, "__module__", "keras.").startswith("keras."):
            raise ExportError(
                f"layer {wrapper.name!r}: TimeDistributed of {type(part).__name__} {part.name!r} "
                f"cannot be exported: its own code may mix rows{at(places.of_class(type(part)))}; "
                "expected layers of Keras only; call the layer on every step at once instead"
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
    shape = node("Concat", np.array([-1]), _dims(x, 2), axis=0)
    return tf.ensure_shape(node("Reshape", x, shape), [None, *sizes])


def _unfold(y: Tensor, like: Tensor) -> Tensor:
    """Return [batch * steps, ...] as [batch, steps, ...], with batch and steps from ``like``."""
    shape = node("Concat", _dims(like, 0, 2), _dims(y, 1), axis=0)
    return tf.ensure_shape(node("Reshape", y, shape), [*like.shape[:2], *y.shape[1:]])


def _dims(x: Tensor, start: int, end: int | None = None) -> Tensor:
    """Return some sizes of a tensor; tf2onnx, which moves transposes, loses a ``Shape``'s start."""
    if None not in (sizes := list(x.shape[start:end])):
        return np.array(sizes, np.int64)
    last = np.array([len(x.shape) if end is None else end])
    return node("Slice", node("Shape", x), np.array([start]), last)


ROWWISE: dict[type, Callable[..., Any]] = {
    layers.Dense: _dense,
    layers.Embedding: _embedding,
    layers.MelSpectrogram: _mel_spectrogram,
    layers.RepeatVector: _repeat_vector,
    layers.TimeDistributed: _time_distributed,
}
