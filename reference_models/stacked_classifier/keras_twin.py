"""The stacked classifier in Keras."""

import keras

from reference_models.stacked_classifier.spec import FEATURES, LABELS, STATES, UNITS


def build(name: str) -> keras.Model:
    features = keras.Input((None, FEATURES), name="features")
    first = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True, name="lstm_1")
    second = keras.layers.LSTM(UNITS, return_state=True, name="lstm_2")
    label = keras.layers.Dense(LABELS, activation="softmax", name="label")
    if name == "stacked_classifier":
        x, _, _ = first(features)
        x, _, _ = second(x)
        return keras.Model({"features": features}, {"label": label(x)}, name=name)
    states = [keras.Input((UNITS,), name=state) for state in STATES]
    x, h_1, c_1 = first(features, initial_state=states[:2])
    x, h_2, c_2 = second(x, initial_state=states[2:])
    return keras.Model(
        {"features": features, **dict(zip(STATES, states, strict=True))},
        {"label": label(x), "h_1": h_1, "c_1": c_1, "h_2": h_2, "c_2": c_2},
        name=name,
    )
