"""The dialogue acts in Keras."""

import keras

from reference_models.dialog_act.spec import ACTS, DIM, UNITS, WORDS


def build(name: str) -> keras.Model:
    tagger = name == "dialog_act_tagger"
    words = keras.Input((None,), dtype="int32", name="words")
    x = keras.layers.Embedding(WORDS, DIM, mask_zero=True, name="embedding")(words)
    x = keras.layers.LSTM(UNITS, return_sequences=tagger, name="lstm")(x)
    dense = keras.layers.Dense(ACTS, activation="sigmoid", name="acts")
    acts = keras.layers.TimeDistributed(dense, name="every_step")(x) if tagger else dense(x)
    return keras.Model({"words": words}, {"acts": acts}, name=name)
