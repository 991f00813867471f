"""Keras nets as users build them: small, right, and of the kinds that are hard to judge."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from keras import initializers, layers, ops

WORDS = 50_000
Layer = Callable[[Any], Any]


def _over(name: str, features: int | None, *parts: Layer, dtype: str = "float32") -> keras.Model:
    """Return a model of layers over one input of frames, or of tokens without ``features``."""
    keras.utils.set_random_seed(0)
    x = keras.Input((None,) if features is None else (None, features), name=name, dtype=dtype)
    y = x
    for part in parts:
        y = part(y)
    return _trained(keras.Model(x, y))


def _trained(model: keras.Model) -> keras.Model:
    """Give statistics of batches and biases values as training leaves them."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            size = layer.gamma.shape
            values = (rng.uniform(0.5, 1.5, size), rng.normal(0, 0.2, size))
            layer.set_weights([*values, rng.normal(0, 0.3, size), rng.uniform(0.3, 2, size)])
    return model


def _lstm(units: int = 12, **options: Any) -> Layer:
    return layers.LSTM(units, return_sequences=True, **options)


def _gru(units: int = 10) -> Layer:
    return layers.GRU(units, return_sequences=True)


class Act(layers.Layer):
    """A function of the user's own, by its name in ``FUNCTIONS``."""

    def __init__(self, function: str, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, *tensors: Any) -> Any:
        return FUNCTIONS[self.function](*tensors)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "function": self.function}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "argmax": lambda y: tf.argmax(y, -1),
    "levels": lambda y: tf.cast(tf.argmax(y, -1), tf.uint8),
    "shades": lambda y: tf.cast(255 * ops.sigmoid(y), tf.uint8),
    "log_softmax": lambda y: ops.log_softmax(3 * y, -1),
    "cumsum": lambda y: ops.cumsum(ops.softplus(y), 1),
    "filled": lambda scores, mask: ops.squeeze(scores, -1) + (1 - mask) * -1e9,
    "log_filled": lambda scores, mask: ops.log_softmax(
        ops.squeeze(scores, -1) + (1 - mask) * -1e9, -1
    ),
    "valid_mean": lambda y, mask: (
        ops.sum(y * ops.expand_dims(mask, -1), 1) / ops.maximum(ops.sum(mask, 1, keepdims=True), 1)
    ),
    "spectrum": lambda x: ops.sqrt(sum(ops.square(part) for part in ops.rfft(x)) + 1e-6),
}


def conv_lstm() -> keras.Model:
    conv = layers.Conv1D(10, 5, padding="causal")
    norm, relu = layers.BatchNormalization(), layers.ReLU()
    return _over("x", 6, conv, norm, relu, layers.Conv1D(8, 3, padding="same"), _lstm(), _dense(4))


def _dense(units: int, activation: str | None = None, **options: Any) -> Layer:
    return layers.Dense(units, activation=activation, name="scores", **options)


def norms() -> keras.Model:
    group, layer = layers.GroupNormalization(2), layers.LayerNormalization()
    dense = layers.Dense(8, "tanh")
    return _over("x", 6, dense, layers.BatchNormalization(), _gru(12), layer, group, _dense(3))


def adapted() -> keras.Model:
    normalization = layers.Normalization()
    rng = np.random.default_rng(0)
    normalization.adapt(rng.normal([-2, 0, 3], [0.3, 1, 5], (400, 3)).astype("float32"))
    return _over("x", 3, normalization, _gru(), _dense(3))


def tcn() -> keras.Model:
    convs = [layers.Conv1D(8, 3, padding="causal", dilation_rate=d) for d in (1, 2, 4)]
    parts = [part for conv in convs for part in (conv, layers.LayerNormalization(), layers.ReLU())]
    return _over("x", 6, *parts, _dense(3))


def attention() -> keras.Model:
    """Self-attention that leaves padded steps out, and the mean over the valid ones."""
    keras.utils.set_random_seed(0)
    x, mask = keras.Input((None, 6), name="x"), keras.Input((None,), name="mask")
    heads = layers.MultiHeadAttention(2, 4)
    y = heads(x, x, attention_mask=ops.expand_dims(mask, 1) > 0.5)
    y = layers.LayerNormalization()(layers.Add()([x, y]))
    return keras.Model([x, mask], _dense(3)(Act("valid_mean")(y, mask)))


def _scored(function: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    x, mask = keras.Input((None, 6), name="x"), keras.Input((None,), name="mask")
    return keras.Model([x, mask], Act(function, name="filled")(_dense(1)(_gru()(x)), mask))


def pointer() -> keras.Model:
    return _scored("filled")


def log_pointer() -> keras.Model:
    return _scored("log_filled")


def states() -> keras.Model:
    keras.utils.set_random_seed(0)
    x, h, c = keras.Input((None, 6), name="x"), *(keras.Input((8,), name=n) for n in "hc")
    y, next_h, next_c = layers.LSTM(8, return_sequences=True, return_state=True)(
        x, initial_state=[h, c]
    )
    outputs = {"scores": _dense(3)(y), "next_h": next_h, "next_c": next_c}
    return keras.Model([x, h, c], outputs)


def two_inputs() -> keras.Model:
    keras.utils.set_random_seed(0)
    source, target = keras.Input((None, 6), name="source"), keras.Input((None, 3), name="target")
    keys, queries = _gru(8)(source), _gru(8)(target)
    context = layers.Attention()([queries, keys])
    return keras.Model([source, target], _dense(4)(layers.Concatenate()([context, queries])))


def argmax() -> keras.Model:
    return _over("x", 6, _lstm(), _dense(9), Act("argmax"))


def levels() -> keras.Model:
    return _over("x", 6, _lstm(), _dense(7), Act("levels"))


def shades() -> keras.Model:
    return _over("x", 6, _lstm(), _dense(1), Act("shades"))


def log_softmax() -> keras.Model:
    return _over("x", 6, layers.Bidirectional(_lstm(8)), _dense(9), Act("log_softmax"))


def words() -> keras.Model:
    embed = layers.Embedding(WORDS, 8, mask_zero=True)
    return _over("tokens", None, embed, layers.GRU(10), _dense(3), dtype="int32")


def tagger() -> keras.Model:
    """Masked in both directions."""
    embed, both = layers.Embedding(40, 8, mask_zero=True), layers.Bidirectional(_lstm(8))
    return _over("tokens", None, embed, both, _dense(5, "softmax"), dtype="int32")


def decoder() -> keras.Model:
    """Five steps from the code of a whole source."""
    parts = (layers.GRU(10), layers.RepeatVector(5), _gru(), _dense(5, "softmax"))
    return _over("source", 6, *parts)


def channels() -> keras.Model:
    model = _over("x", 6, _lstm(), _dense(4))
    head = model.get_layer("scores")
    head.kernel.assign(head.kernel * np.array([1e3, 1, 1e-3, 1e-5], "float32"))
    return model


def focal() -> keras.Model:
    bias = initializers.Constant(-7.0)
    return _over("x", 6, _lstm(), _dense(4, "sigmoid", bias_initializer=bias))


def rare_events() -> keras.Model:
    model = _over("x", 6, _lstm(), _dense(2, "sigmoid"))
    head = model.get_layer("scores")
    head.set_weights([6 * head.get_weights()[0], np.full(2, -14, "float32")])
    return model


def rare_classes() -> keras.Model:
    model = _over("x", 6, _lstm(), _dense(4, "softmax"))
    head = model.get_layer("scores")
    head.set_weights([4 * head.get_weights()[0], np.array([8, 0, -4, -9], "float32")])
    return model


def chrono() -> keras.Model:
    """Forget biases of the logarithm of a span, input biases of its negative."""
    model = _over("x", 6, _lstm(name="memory"), _dense(4, "sigmoid"))
    layer = model.get_layer("memory")
    kernel, recurrent, bias = layer.get_weights()
    spans = np.log(np.random.default_rng(0).uniform(1, 299, 12))
    bias[:12], bias[12:24] = -spans, spans
    layer.set_weights([kernel, recurrent, bias])
    return model


def running_sum() -> keras.Model:
    return _over("x", 6, _lstm(), _dense(3), Act("cumsum"))


def fft() -> keras.Model:
    return _over("frames", 16, Act("spectrum"), _gru(), _dense(3))
