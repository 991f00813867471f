"""The fixed-length autoencoder in Keras."""

import keras

from reference_models.fixed_length_autoencoder.spec import DIM, STEPS, UNITS, VOCABULARY


def build(name: str) -> keras.Model:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(
        VOCABULARY,
        DIM,
        keras.initializers.RandomNormal(stddev=1.0),
        mask_zero=True,
        name="embedding",
    )(tokens)
    code = keras.layers.LSTM(UNITS, name="encoder")(x)
    x = keras.layers.RepeatVector(STEPS, name="repeat")(code)
    x = keras.layers.LSTM(UNITS, return_sequences=True, name="decoder")(x)
    dense = keras.layers.Dense(VOCABULARY, activation="softmax", name="probabilities")
    probabilities = keras.layers.TimeDistributed(dense, name="every_step")(x)
    return keras.Model({"tokens": tokens}, {"probabilities": probabilities}, name=name)
