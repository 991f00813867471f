"""Keras nets of the kinds that people bring, beyond those of ``ci/own_nets``."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
from keras import layers, ops


def _frames(size: int = 6, name: str = "x") -> Any:
    return keras.Input((None, size), name=name)


def _tokens(name: str = "tokens", words: int = 30) -> tuple[Any, Any]:
    tokens = keras.Input((None,), name=name, dtype="int32")
    return tokens, layers.Embedding(words, 8, mask_zero=True)(tokens)


def video() -> keras.Model:
    """TimeDistributed convolution, pooling and Flatten, then an LSTM"""
    x = keras.Input((None, 6, 6, 1), name="video")
    y = layers.TimeDistributed(layers.Conv2D(2, 3, activation="relu"))(x)
    y = layers.TimeDistributed(layers.MaxPooling2D())(y)
    return keras.Model(x, layers.LSTM(4)(layers.TimeDistributed(layers.Flatten())(y)))


def convolved() -> keras.Model:
    """ConvLSTM1D over frames"""
    x = keras.Input((None, 6, 2), name="x")
    return keras.Model(x, layers.ConvLSTM1D(3, 3, padding="same", return_sequences=True)(x))


def causal() -> keras.Model:
    """A causal decoder block of MultiHeadAttention"""
    x = _frames(8)
    y = layers.LayerNormalization()(x)
    x2 = layers.Add()([x, layers.MultiHeadAttention(2, 4)(y, y, use_causal_mask=True)])
    y = layers.Dense(16, "gelu")(layers.LayerNormalization()(x2))
    return keras.Model(x, layers.Add()([x2, layers.Dense(8)(y)]))


def hierarchy() -> keras.Model:
    """Words in sentences: TimeDistributed over a recurrent model"""
    words = keras.Input((5,), dtype="int32")
    sentence = keras.Model(words, layers.GRU(6)(layers.Embedding(30, 8)(words)))
    text = keras.Input((None, 5), name="text", dtype="int32")
    return keras.Model(text, layers.GRU(6)(layers.TimeDistributed(sentence)(text)))


def normalised() -> keras.Model:
    """Normalization with constants"""
    x = _frames(3)
    y = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0])(x)
    return keras.Model(x, layers.LSTM(6, return_sequences=True)(y))


def translator() -> keras.Model:
    """Attention of a padded target over a padded source"""
    source, keys = _tokens("source")
    target, queries = _tokens("target")
    keys, h, c = layers.LSTM(8, return_sequences=True, return_state=True)(keys)
    queries = layers.LSTM(8, return_sequences=True)(queries, initial_state=[h, c])
    context = layers.AdditiveAttention()([queries, keys])
    return keras.Model([source, target], layers.Dense(30)(layers.Concatenate()([queries, context])))


def masked() -> keras.Model:
    """Masking of frames of zeros, two GRUs"""
    x = _frames()
    y = layers.GRU(8, return_sequences=True)(layers.Masking()(x))
    return keras.Model(x, layers.GRU(8)(y))


def cells() -> keras.Model:
    """RNN over stacked cells of two kinds"""
    x = _frames()
    cells = layers.StackedRNNCells([layers.LSTMCell(8), layers.GRUCell(6)])
    return keras.Model(x, layers.RNN(cells, return_sequences=True)(x))


def window() -> keras.Model:
    """A window of 24 steps, as forecasting scripts have it"""
    x = keras.Input((24, 1), name="x")
    y = layers.LSTM(8, return_sequences=True)(x)
    return keras.Model(x, layers.Dense(1)(layers.LSTM(8)(y)))


def separable() -> keras.Model:
    """Separable causal convolutions and squeeze and excitation"""
    x = _frames()
    y = layers.SeparableConv1D(8, 3, padding="same", activation="relu")(x)
    weights = layers.Dense(8, "sigmoid")(layers.GlobalAveragePooling1D()(y))
    return keras.Model(x, layers.Multiply()([y, layers.Reshape((1, 8))(weights)]))


def unet() -> keras.Model:
    """Down by pooling, up by repeating, over lengths that are multiples of 2"""
    x = _frames()
    a = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    b = layers.Conv1D(8, 3, padding="same", activation="relu")(layers.MaxPooling1D(2)(a))
    y = layers.Concatenate()([layers.UpSampling1D(2)(b), a])
    return keras.Model(x, layers.Conv1D(2, 3, padding="same")(y))


def summed() -> keras.Model:
    """Both directions of a GRU, summed, over padded tokens"""
    tokens, x = _tokens()
    y = layers.Bidirectional(layers.GRU(8, return_sequences=True), merge_mode="sum")(x)
    return keras.Model(tokens, layers.Dense(5, "softmax")(y))


def classifier() -> keras.Model:
    """MultiHeadAttention over padded tokens with learned places, mean of the valid steps"""
    tokens, x = _tokens()
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


def upsampled() -> keras.Model:
    """A transposed convolution: two steps for each"""
    x = _frames()
    y = layers.Conv1DTranspose(4, 4, 2, padding="same", activation="relu")(x)
    return keras.Model(x, layers.GRU(4, return_sequences=True)(y))


def text() -> keras.Model:
    """Convolutions of three widths over words, the largest value of each"""
    tokens = keras.Input((None,), name="tokens", dtype="int32")
    x = layers.Embedding(30, 8)(tokens)
    y = [layers.Conv1D(4, n, padding="same", activation="relu")(x) for n in (3, 4, 5)]
    pooled = [layers.GlobalMaxPooling1D()(part) for part in y]
    return keras.Model(tokens, layers.Dense(3)(layers.Concatenate()(pooled)))


def backwards() -> keras.Model:
    """SimpleRNN with ReLU, from the last step to the first"""
    x = _frames()
    return keras.Model(x, layers.SimpleRNN(8, "relu", return_sequences=True, go_backwards=True)(x))


def before() -> keras.Model:
    """A GRU that resets before the product, with a learned first state"""
    x, h = _frames(), keras.Input((8,), name="h")
    y, last = layers.GRU(8, reset_after=False, return_sequences=True, return_state=True)(
        x, initial_state=h
    )
    return keras.Model([x, h], {"steps": y, "last": last})


def residual() -> keras.Model:
    """Three LSTM layers with residuals and layer norm between them"""
    x = y = _frames()
    for _ in range(3):
        y = layers.Add()([y, layers.LSTM(6, return_sequences=True)(layers.LayerNormalization()(y))])
    return keras.Model(x, y)


def rotated() -> keras.Model:
    """Attention with rotary positions computed in a layer of one's own"""
    x = _frames(8)
    q, k, v = (Rotary(name=part)(layers.Dense(8)(x)) for part in ("q", "k", "v"))
    return keras.Model(x, layers.Attention()([q, v, k], use_causal_mask=True))


class Rotary(layers.Layer):
    def call(self, x: Any) -> Any:
        places = ops.cast(ops.arange(ops.shape(x)[1]), x.dtype)
        angles = places[:, None] * ops.cast([1.0, 0.1, 0.01, 0.001], x.dtype)
        a, b = ops.split(x, 2, -1)
        cos, sin = ops.cos(angles), ops.sin(angles)
        return ops.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


INPUTS = {
    "hierarchy": ("text: int32[batch, sentences, 5] in 0..29",),
    "unet": ("time: multiple of 2", "x: float32[batch, time, 6]"),
}
"""What a model does not say itself."""
