"""The GRU taggers in Keras."""

import keras

from reference_models.gru_tagger.spec import DIM, TAGS, TOKENS, UNITS


def build(name: str) -> keras.Model:
    after = name == "gru_tagger"
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(TOKENS, DIM, mask_zero=True, name="embedding")(tokens)
    x = keras.layers.GRU(UNITS, return_sequences=True, reset_after=after, name="gru")(x)
    probabilities = keras.layers.Dense(TAGS, activation="softmax", name="probabilities")(x)
    return keras.Model({"tokens": tokens}, {"probabilities": probabilities}, name=name)
