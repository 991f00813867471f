"""The recogniser in Keras."""

from typing import Any

import keras
from keras import ops

from reference_models.ctc_recogniser.spec import CHANNELS, FEATURES, LABELS, STRIDE, UNITS, WIDTH


@keras.saving.register_keras_serializable("ctc_recogniser")
class Valid(keras.layers.Layer):
    """Which steps of ``x`` [batch, steps, …] lie within each row's count."""

    def call(self, x: Any, counts: Any) -> Any:
        return ops.arange(ops.shape(x)[1], dtype="int32") < counts[:, None]


def _within(x: Any, valid: Any) -> Any:
    return ops.where(valid[..., None], x, ops.zeros_like(x))


def build(name: str) -> keras.Model:
    layers = keras.layers
    features = keras.Input((None, FEATURES), name="features")
    lengths = keras.Input((), dtype="int32", name="lengths")
    counts = lengths
    valid = Valid()(features, counts)
    x = _within(features, valid)
    for number in (1, 2):
        counts = (counts + (STRIDE - 1)) // STRIDE
        x = layers.ZeroPadding1D(WIDTH // 2)(x)
        x = layers.Conv1D(CHANNELS, WIDTH, STRIDE, activation="relu", name=f"conv_{number}")(x)
        valid = Valid()(x, counts)
        x = _within(x, valid)
    x = layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True), name="lstm")(x, mask=valid)
    logits = _within(layers.Dense(LABELS, name="logits")(x), valid)
    return keras.Model(
        {"features": features, "lengths": lengths},
        {"logits": logits, "frame_counts": counts},
        name=name,
    )
