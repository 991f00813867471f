"""The sequence autoencoder and its halves in Keras."""

from typing import Any

import keras

from reference_models.sequence_autoencoder.spec import (
    DRAWN,
    FEATURES,
    SYMBOLS,
    UNITS,
    UNSEEN_LOGIT,
)


class Length(keras.layers.Layer):
    """Maps [batch, steps] to the int32 scalar ``steps``."""

    def call(self, x: Any) -> Any:
        return keras.ops.convert_to_tensor(keras.ops.shape(x)[1], "int32")

    def compute_output_shape(self, x_shape: Any) -> tuple[()]:
        return ()

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        return keras.KerasTensor((), "int32")


class Repeat(keras.layers.Layer):
    """Maps [batch, features] and the int32 scalar ``length`` to [batch, length, features]."""

    def call(self, x: Any, length: Any) -> Any:
        shape = (keras.ops.shape(x)[0], length, x.shape[1])
        return keras.ops.broadcast_to(keras.ops.expand_dims(x, 1), shape)

    def compute_output_shape(self, x_shape: Any, length_shape: Any) -> tuple[Any, None, Any]:
        return (x_shape[0], None, x_shape[1])


def build(name: str) -> keras.Model:
    tokens = keras.Input((None,), name="tokens", dtype="int32")
    code = keras.Input((UNITS,), name="code")
    length = keras.Input(batch_shape=(), name="length", dtype="int32")
    if name == "sequence_decoder":
        inputs = {"code": code, "length": length}
        return keras.Model(inputs, {"probabilities": _decode(code, length)}, name=name)
    code = _encode(tokens)
    if name == "sequence_encoder":
        return keras.Model({"tokens": tokens}, {"code": code}, name=name)
    probabilities = _decode(code, Length(name="length_of_tokens")(tokens))
    return keras.Model({"tokens": tokens}, {"probabilities": probabilities}, name=name)


def _encode(tokens: Any) -> Any:
    normal = keras.initializers.RandomNormal(stddev=1.0)
    x = keras.layers.Embedding(SYMBOLS, FEATURES, embeddings_initializer=normal, name="embedding")(
        tokens
    )
    return keras.layers.LSTM(UNITS, name="encoder_lstm")(x)


def _decode(code: Any, length: Any) -> Any:
    x = Repeat(name="repeat")(code, length)
    x = keras.layers.LSTM(UNITS, return_sequences=True, name="decoder_lstm")(x)
    return keras.layers.Dense(
        SYMBOLS, activation="softmax", bias_initializer=_frequencies, name="probabilities"
    )(x)


def _frequencies(shape: Any, dtype: Any = None) -> Any:
    """Initialise with the symbols' frequencies, so that training has only to separate them."""
    drawn = keras.ops.arange(shape[0]) < DRAWN
    return keras.ops.cast(keras.ops.where(drawn, 0.0, UNSEEN_LOGIT), dtype)
