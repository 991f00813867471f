"""The attention encoder and decoder in Keras."""

from typing import Any

import keras
from keras import ops

from reference_models.attention_seq2seq.spec import DIM, UNITS, VOCABULARY

FAR = -1e4
"""The score of a step that is not seen: its weight is exactly zero beside one that is."""


@keras.saving.register_keras_serializable("attention_seq2seq")
class Context(keras.layers.Layer):
    """The steps of ``memory`` that a query attends to; zero where none of a row is valid."""

    def call(self, query: Any, memory: Any, valid: Any) -> Any:
        scores = ops.matmul(query, ops.transpose(memory, (0, 2, 1))) * UNITS**-0.5
        mixed = ops.matmul(ops.softmax(ops.where(valid[:, None], scores, FAR)), memory)
        seen = ops.any(valid, axis=1)[:, None, None]
        return ops.where(seen, mixed, ops.zeros_like(mixed))


def build(name: str) -> keras.Model:
    layers = keras.layers
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    source_valid, target_valid = ops.not_equal(source, 0), ops.not_equal(target, 0)
    x = layers.Embedding(VOCABULARY, DIM, name="source_embedding")(source)
    encoder = layers.GRU(UNITS, return_sequences=True, return_state=True, name="encoder")
    memory, state = encoder(x, mask=source_valid)
    x = layers.Embedding(VOCABULARY, DIM, name="target_embedding")(target)
    decoder = layers.GRU(UNITS, return_sequences=True, name="decoder")
    x = decoder(x, initial_state=state, mask=target_valid)
    query = layers.Dense(UNITS, name="query")(x)
    context = Context(name="context")(query, memory, source_valid)
    logits = layers.Dense(VOCABULARY, name="logits")(layers.Concatenate()([x, context]))
    logits = ops.where(target_valid[..., None], logits, ops.zeros_like(logits))
    return keras.Model({"source": source, "target": target}, {"logits": logits}, name=name)
