"""The Transformer encoder in Keras."""

from typing import Any

import keras
from keras import ops

from reference_models.transformer_encoder.spec import (
    DIM,
    EPSILON,
    HEAD,
    HEADS,
    LABELS,
    LONGEST,
    TOKENS,
    WIDE,
)

FAR = -1e4
"""The score of a key that is not seen: its weight is exactly zero beside one that is."""


def _heads(x: Any) -> Any:
    """Return [batch, heads, steps, features of a head]."""
    return ops.transpose(ops.reshape(x, (-1, ops.shape(x)[1], HEADS, HEAD)), (0, 2, 1, 3))


@keras.saving.register_keras_serializable("transformer_encoder")
class Attention(keras.layers.Layer):
    """Scaled dot products of several heads, without weights of its own."""

    def call(self, query: Any, key: Any, value: Any, valid: Any) -> Any:
        steps = ops.shape(query)[1]
        scores = ops.matmul(_heads(query), ops.transpose(_heads(key), (0, 1, 3, 2)))
        scores = ops.where(valid[:, None, None, :], scores * HEAD**-0.5, FAR)
        attended = ops.matmul(ops.softmax(scores), _heads(value))
        return ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, steps, HEADS * HEAD))


@keras.saving.register_keras_serializable("transformer_encoder")
class Places(keras.layers.Layer):
    """The number of each valid step among those of its row, from 1; 0 at padded ones."""

    def call(self, tokens: Any) -> Any:
        valid = ops.cast(ops.not_equal(tokens, 0), "int32")
        return ops.cumsum(valid, axis=1) * valid


def build(name: str) -> keras.Model:
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    valid = ops.not_equal(tokens, 0)
    x = layers.Embedding(TOKENS, DIM, name="embedding")(tokens)
    x = x + layers.Embedding(LONGEST + 1, DIM, name="positions")(Places(name="places")(tokens))
    y = layers.LayerNormalization(epsilon=EPSILON, name="attention_norm")(x)
    query, key, value = (layers.Dense(HEADS * HEAD, name=n)(y) for n in ("query", "key", "value"))
    y = Attention(name="attention")(query, key, value, valid)
    x = x + layers.Dense(DIM, name="attended")(y)
    y = layers.LayerNormalization(epsilon=EPSILON, name="wide_norm")(x)
    y = layers.Dense(WIDE, activation="relu", name="wide")(y)
    x = x + layers.Dense(DIM, name="narrow")(y)
    labels = layers.Dense(LABELS, name="labels")(x)
    labels = ops.where(valid[..., None], labels, ops.zeros_like(labels))
    return keras.Model({"tokens": tokens}, {"labels": labels}, name=name)
