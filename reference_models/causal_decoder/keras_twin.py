"""The causal decoder in Keras."""

from typing import Any

import keras
from keras import ops

from reference_models.causal_decoder.spec import (
    DIM,
    EPSILON,
    HEAD,
    HEADS,
    LONGEST,
    SYMBOLS,
    TOKENS,
    WIDE,
)

FAR = -1e4
"""The score of a key that is not seen: its weight is exactly zero beside one that is."""


@keras.saving.register_keras_serializable("causal_decoder")
class Places(keras.layers.Layer):
    """The position of each step after those of the past, [steps]."""

    def call(self, tokens: Any, past: Any) -> Any:
        before = ops.shape(past)[2]
        return ops.arange(ops.shape(tokens)[1], dtype="int32") + before


@keras.saving.register_keras_serializable("causal_decoder")
class Heads(keras.layers.Layer):
    """The features shared out to heads, [batch, heads, steps, features of a head]."""

    def call(self, x: Any) -> Any:
        return ops.transpose(ops.reshape(x, (-1, ops.shape(x)[1], HEADS, HEAD)), (0, 2, 1, 3))


@keras.saving.register_keras_serializable("causal_decoder")
class CausalAttention(keras.layers.Layer):
    """Scaled dot products of several heads, each query's with keys that are not later."""

    def call(self, query: Any, key: Any, value: Any) -> Any:
        steps, keys = ops.shape(query)[2], ops.shape(key)[2]
        last = ops.arange(steps, dtype="int32") + (keys - steps)
        seen = ops.arange(keys, dtype="int32")[None] <= last[:, None]
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * HEAD**-0.5
        attended = ops.matmul(ops.softmax(ops.where(seen[None, None], scores, FAR)), value)
        return ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, steps, HEADS * HEAD))


def build(name: str) -> keras.Model:
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    past_key = keras.Input((HEADS, None, HEAD), name="past_key")
    past_value = keras.Input((HEADS, None, HEAD), name="past_value")
    places = Places(name="places")(tokens, past_key)
    # Tables as PyTorch draws them: with Keras' small ones the first position is not found.
    normal = keras.initializers.RandomNormal(stddev=1.0)
    x = layers.Embedding(TOKENS, DIM, normal, name="embedding")(tokens)
    x = x + layers.Embedding(2 * LONGEST, DIM, normal, name="positions")(places)
    y = layers.LayerNormalization(epsilon=EPSILON, name="attention_norm")(x)
    query, key, value = (
        Heads(name=f"{name}_heads")(layers.Dense(HEADS * HEAD, name=name)(y))
        for name in ("query", "key", "value")
    )
    key = layers.Concatenate(axis=2)([past_key, key])
    value = layers.Concatenate(axis=2)([past_value, value])
    y = CausalAttention(name="attention")(query, key, value)
    x = x + layers.Dense(DIM, name="attended")(y)
    x = layers.LayerNormalization(epsilon=EPSILON, name="wide_norm")(x)
    x = layers.Dense(WIDE, activation="relu", name="wide")(x)
    labels = layers.Dense(SYMBOLS, name="labels")(x)
    return keras.Model(
        {"tokens": tokens, "past_key": past_key, "past_value": past_value},
        {"labels": labels, "present_key": key, "present_value": value},
        name=name,
    )
