"""The encoder and decoder in Keras."""

import keras

from reference_models.encoder_decoder.spec import DIM, UNITS, VOCABULARY


def build(name: str) -> keras.Model:
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    x = keras.layers.Embedding(VOCABULARY, DIM, mask_zero=True, name="source_embedding")(source)
    _, h, c = keras.layers.LSTM(UNITS, return_state=True, name="encoder")(x)
    y = keras.layers.Embedding(VOCABULARY, DIM, name="target_embedding")(target)
    y = keras.layers.LSTM(UNITS, return_sequences=True, name="decoder")(y, initial_state=[h, c])
    logits = keras.layers.Dense(VOCABULARY, name="logits")(y)
    return keras.Model({"source": source, "target": target}, {"logits": logits}, name=name)
