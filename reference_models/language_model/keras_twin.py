"""The language model in Keras."""

import keras

from reference_models.language_model.spec import (
    DIM,
    DROPOUT,
    NEXT_STATES,
    STATES,
    UNITS,
    VOCABULARY,
)


def build(name: str) -> keras.Model:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    initial = [keras.Input((UNITS,), name=state) for state in STATES]
    embedding = keras.layers.Embedding(VOCABULARY, DIM, mask_zero=True, name="embedding")
    first = keras.layers.LSTMCell(UNITS, name="lstm_1")
    second = keras.layers.LSTMCell(UNITS, dropout=DROPOUT, name="lstm_2")
    stack = keras.layers.RNN(
        [first, second], return_sequences=True, return_state=True, name="stack"
    )
    # Keras drops the mask of the embeddings where initial_state is passed.
    x, *states = stack(
        embedding(tokens),
        initial_state=[initial[:2], initial[2:]],
        mask=embedding.compute_mask(tokens),
    )
    logits = keras.layers.Dense(VOCABULARY, name="logits")(x)
    after = [state for pair in states for state in pair]
    return keras.Model(
        {"tokens": tokens, **dict(zip(STATES, initial, strict=True))},
        {"logits": logits, **dict(zip(NEXT_STATES, after, strict=True))},
        name=name,
    )
