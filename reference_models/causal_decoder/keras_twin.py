"""The causal decoder in Keras."""

from typing import Any

import keras
from keras import ops

from reference_models.causal_decoder.spec import DIM, EPSILON, HEAD, LONGEST, SYMBOLS, TOKENS, WIDE

FAR = -1e4
"""The score of a key that is not seen: its weight is exactly zero beside one that is."""


@keras.saving.register_keras_serializable("causal_decoder")
class Places(keras.layers.Layer):
    """The position of each step after those of the past, [steps]."""

    def call(self, tokens: Any, past: Any) -> Any:
        before = ops.shape(past)[1]
        return ops.arange(ops.shape(tokens)[1], dtype="int32") + before


@keras.saving.register_keras_serializable("causal_decoder")
class CausalAttention(keras.layers.Layer):
    """Scaled dot products of one head, each query's with keys that are not later."""

    def call(self, query: Any, key: Any, value: Any) -> Any:
        steps, keys = ops.shape(query)[1], ops.shape(key)[1]
        last = ops.arange(steps, dtype="int32") + (keys - steps)
        seen = ops.arange(keys, dtype="int32")[None] <= last[:, None]
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1))) * HEAD**-0.5
        return ops.matmul(ops.softmax(ops.where(seen[None], scores, FAR)), value)


def build(name: str) -> keras.Model:
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    past_key = keras.Input((None, HEAD), name="past_key")
    past_value = keras.Input((None, HEAD), name="past_value")
    places = Places(name="places")(tokens, past_key)
    # Tables as PyTorch draws them: with Keras' small ones the first position is not found.
    normal = keras.initializers.RandomNormal(stddev=1.0)
    x = layers.Embedding(TOKENS, DIM, normal, name="embedding")(tokens)
    x = x + layers.Embedding(2 * LONGEST, DIM, normal, name="positions")(places)
    y = layers.LayerNormalization(epsilon=EPSILON, name="attention_norm")(x)
    query, key, value = (layers.Dense(HEAD, name=n)(y) for n in ("query", "key", "value"))
    key = layers.Concatenate(axis=1)([past_key, key])
    value = layers.Concatenate(axis=1)([past_value, value])
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
