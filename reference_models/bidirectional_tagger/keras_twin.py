"""The bidirectional tagger in Keras."""

import keras

from reference_models.bidirectional_tagger.spec import DIM, TAGS, TOKENS, UNITS


def build(name: str) -> keras.Model:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(TOKENS, DIM, mask_zero=True, name="embedding")(tokens)
    one_way = keras.layers.LSTM(UNITS, return_sequences=True)
    x = keras.layers.Bidirectional(one_way, merge_mode="concat", name="lstm")(x)
    probabilities = keras.layers.Dense(TAGS, activation="softmax", name="probabilities")(x)
    return keras.Model({"tokens": tokens}, {"probabilities": probabilities}, name=name)
