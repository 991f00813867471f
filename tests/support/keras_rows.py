"""Small Keras models, one for each thing that the native exporter covers.

``ROWS`` maps a row's name to a function that builds its model with Keras' current dtype policy.
A row's float input is ``x`` [batch, sequence, 5] behind a ``Masking``, so that a step of zeros is a
masked one; its integer input is ``ids``, where 0 is one.
"""

from collections.abc import Callable

import keras
from keras import layers as kl

FEATURES = 5
UNITS = 4


def masked():
    x = keras.Input((None, FEATURES), name="x")
    return x, kl.Masking()(x)


def model(layer):
    """``layer`` on the masked input, its outputs numbered."""
    x, y = masked()
    out = keras.tree.flatten(layer(y))
    return keras.Model(x, {f"out_{i}": o for i, o in enumerate(out)})


def unmasked(layer):
    x = keras.Input((None, FEATURES), name="x")
    out = keras.tree.flatten(layer(x))
    return keras.Model(x, {f"out_{i}": o for i, o in enumerate(out)})


KINDS = {
    "lstm": kl.LSTM,
    "gru": kl.GRU,
    "gru_reset_before": lambda *a, **k: kl.GRU(*a, reset_after=False, **k),
    "rnn": kl.SimpleRNN,
}
FORMS = {
    "last": {},
    "steps": {"return_sequences": True},
    "state": {"return_state": True},
    "steps_state": {"return_sequences": True, "return_state": True},
    "back": {"go_backwards": True},
    "back_steps_state": {"go_backwards": True, "return_sequences": True, "return_state": True},
    "no_bias": {"use_bias": False, "return_sequences": True},
}


def with_initial_state(kind, masks):
    def build():
        x, y = masked()
        states = [keras.Input((UNITS,), name=f"s{i}") for i in range(2 if kind == "lstm" else 1)]
        layer = KINDS[kind](UNITS, return_sequences=True, return_state=True)
        mask = keras.ops.any(keras.ops.not_equal(x, 0), axis=-1) if masks else None
        out = layer(y, initial_state=states, mask=mask) if masks else layer(y, initial_state=states)
        return keras.Model([x, *states], {f"out_{i}": o for i, o in enumerate(out)})

    return build


def mixed_cells():
    return [kl.LSTMCell(UNITS), kl.GRUCell(3), kl.SimpleRNNCell(6), kl.LSTMCell(2)]


def stack_with_initial_state():
    x, y = masked()
    s = [keras.Input((n,), name=f"s{i}") for i, n in enumerate((UNITS, UNITS, 3))]
    layer = kl.RNN([kl.LSTMCell(UNITS), kl.GRUCell(3)], return_state=True, return_sequences=True)
    mask = keras.ops.any(keras.ops.not_equal(x, 0), axis=-1)
    out = keras.tree.flatten(layer(y, initial_state=[s[:2], [s[2]]], mask=mask))
    return keras.Model([x, *s], {f"out_{i}": o for i, o in enumerate(out)})


def merges(modes, **kwargs):
    layers = [kl.Bidirectional(kl.LSTM(UNITS, **kwargs), merge_mode=m) for m in modes]
    return model(lambda y: [layer(y) for layer in layers])


def differing_backward():
    back = kl.GRU(UNITS, go_backwards=True, return_sequences=True)
    ahead = kl.LSTM(UNITS, return_sequences=True)
    return model(kl.Bidirectional(ahead, backward_layer=back))


def swapped_directions():
    ahead = kl.LSTM(UNITS, go_backwards=True, return_sequences=True)
    return model(kl.Bidirectional(ahead, backward_layer=kl.LSTM(UNITS, return_sequences=True)))


def bidirectional_with_initial_state():
    x, y = masked()
    s = [keras.Input((UNITS,), name=f"s{i}") for i in range(4)]
    layer = kl.Bidirectional(kl.LSTM(UNITS, return_sequences=True, return_state=True))
    out = layer(y, initial_state=s)
    return keras.Model([x, *s], {f"out_{i}": o for i, o in enumerate(out)})


def embedded(*after):
    ids = keras.Input((None,), dtype="int32", name="ids")
    y = kl.Embedding(11, FEATURES, mask_zero=True)(ids)
    for layer in after:
        y = layer(y)
    return keras.Model(ids, y)


def time_distributed_recurrent():
    x = keras.Input((None, 3, FEATURES), name="x")
    return keras.Model(x, kl.TimeDistributed(kl.LSTM(UNITS))(x))


def time_distributed_masked():
    ids = keras.Input((None, 6), dtype="int32", name="ids")
    y = kl.Embedding(11, FEATURES, mask_zero=True)(ids)
    return keras.Model(ids, kl.TimeDistributed(kl.GRU(UNITS))(y))


def time_distributed_images():
    x = keras.Input((None, 6, 6, 2), name="x")
    y = kl.TimeDistributed(kl.Conv2D(3, 3, activation="relu"))(x)
    y = kl.TimeDistributed(kl.MaxPooling2D())(y)
    return keras.Model(x, kl.LSTM(UNITS)(kl.TimeDistributed(kl.Flatten())(y)))


def time_distributed_sentences():
    """Words of sentences of documents; both levels are masked."""
    words = keras.Input((None,), dtype="int32")
    y = kl.Embedding(11, FEATURES, mask_zero=True)(words)
    sentence = keras.Model(words, kl.Bidirectional(kl.GRU(UNITS))(y))
    ids = keras.Input((None, 6), dtype="int32", name="ids")
    return keras.Model(ids, kl.GRU(UNITS)(kl.TimeDistributed(sentence)(ids)))


def time_distributed_model():
    inner = keras.Sequential([kl.Dense(4, "relu"), kl.Dense(3)])
    return model(kl.TimeDistributed(inner))


class RepeatLike(kl.Layer):
    def call(self, code, like):
        shape = keras.ops.shape(like)
        return keras.ops.broadcast_to(code[:, None], (shape[0], shape[1], code.shape[-1]))

    def compute_output_shape(self, code_shape, like_shape):
        return (*like_shape[:2], code_shape[-1])


def repeat_to_dynamic_length():
    x, y = masked()
    code = kl.LSTM(UNITS)(y)
    return keras.Model(x, kl.LSTM(3, return_sequences=True)(RepeatLike()(code, x)))


def repeat_vector():
    return model(
        keras.Sequential([kl.GRU(UNITS), kl.RepeatVector(6), kl.LSTM(3, return_sequences=True)])
    )


def nested():
    x, y = masked()
    inner_in = keras.Input((None, FEATURES), name="inner")
    inner = keras.Model(inner_in, kl.GRU(UNITS, return_sequences=True)(inner_in))
    return keras.Model(x, kl.LSTM(3)(keras.Sequential([inner, kl.Dense(3, "tanh")])(y)))


def shared():
    a, b = (keras.Input((None, FEATURES), name=n) for n in "ab")
    layer = kl.LSTM(UNITS)
    both = kl.concatenate([layer(kl.Masking()(a)), layer(kl.Masking()(b))])
    return keras.Model({"b": b, "a": a}, {"z": kl.Dense(2)(both), "a_first": both})


def sequential():
    return keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            kl.Masking(),
            kl.Bidirectional(kl.GRU(UNITS, return_sequences=True, dropout=0.5)),
            kl.Dropout(0.5),
            kl.LSTM(3, recurrent_dropout=0.5),
            kl.BatchNormalization(),
            kl.LayerNormalization(),
            kl.Dense(2, "softmax"),
        ]
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.mask = kl.Masking()
        self.lstm = kl.LSTM(UNITS, return_sequences=True, return_state=True)
        self.dense = kl.Dense(3, "gelu")

    def call(self, x, training=None):
        y, h, c = self.lstm(self.mask(x), training=training)
        return self.dense(y), [h, c]


def subclassed():
    built = Subclassed()
    built(keras.ops.ones((2, 3, FEATURES)))
    return built


class TwoParts(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = kl.LSTM(UNITS), kl.GRU(UNITS)

    def call(self, a, b):
        return {"sum": self.a(a) + self.b(b)}


def two_parameters():
    built = TwoParts()
    built(keras.ops.ones((2, 3, FEATURES)), keras.ops.ones((2, 4, FEATURES)))
    return built


def dense_activations():
    x, y = masked()
    names = "relu relu6 leaky_relu elu selu celu softplus softsign silu gelu tanh tanh_shrink"
    names += " sigmoid hard_sigmoid hard_silu hard_tanh exponential linear mish log_softmax softmax"
    names += " log_sigmoid squareplus soft_shrink hard_shrink sparse_plus sparse_sigmoid"
    out = {name: kl.Dense(UNITS, name)(y) for name in names.split()}
    return keras.Model(x, out | {"gelu_tanh": keras.activations.gelu(y, approximate=True)})


def where():
    x, y = masked()
    safe = keras.ops.where(x > 0, keras.ops.log(x), -1.0)
    return keras.Model(x, {"safe": kl.LSTM(UNITS)(y), "logs": safe})


# (activation, recurrent activation): each on either side, in pairs whose states stay bounded.
CELL_ACTIVATIONS = (
    ("relu", "hard_sigmoid"),
    ("linear", "sigmoid"),
    ("hard_sigmoid", "relu"),
    ("leaky_relu", "softsign"),
    ("elu", "tanh"),
    ("softsign", "linear"),
    ("softplus", "leaky_relu"),
    ("sigmoid", "softplus"),
    ("tanh", "elu"),
)


def activations(kind):
    def layer(name, gate):
        gates = {} if kind == "rnn" else {"recurrent_activation": gate}
        return KINDS[kind](UNITS, activation=name, return_sequences=True, **gates)

    return lambda: model(lambda y: [layer(*names)(y) for names in CELL_ACTIVATIONS])


def _rows() -> dict[str, Callable[[], keras.Model]]:
    rows: dict[str, Callable[[], keras.Model]] = {}
    for kind, layer in KINDS.items():
        for form, kwargs in FORMS.items():
            rows[f"{kind}-{form}"] = lambda la=layer, k=kwargs: model(la(UNITS, **k))
        rows[f"{kind}-unmasked"] = lambda la=layer: unmasked(
            la(UNITS, return_sequences=True, return_state=True, go_backwards=True)
        )
        rows[f"{kind}-initial_state"] = with_initial_state(kind, masks=False)
        rows[f"{kind}-initial_state-mask"] = with_initial_state(kind, masks=True)
        if kind != "gru_reset_before":
            rows[f"{kind}-activations"] = activations(kind)
    return rows | {
        "bidirectional-merges-last": lambda: merges(("concat", "mul")),
        "bidirectional-merges-steps_state": lambda: merges(
            ("concat", "sum", "mul", "ave", None), **FORMS["steps_state"]
        ),
        "bidirectional-unmasked": lambda: unmasked(
            kl.Bidirectional(kl.GRU(UNITS, return_sequences=True, return_state=True))
        ),
        "bidirectional-differing_backward": differing_backward,
        "bidirectional-swapped": swapped_directions,
        "bidirectional-initial_state": bidirectional_with_initial_state,
        "bidirectional-of_stack": lambda: model(
            kl.Bidirectional(kl.RNN([kl.GRUCell(3), kl.LSTMCell(2)], return_sequences=True))
        ),
        "rnn_of-cell": lambda: model(kl.RNN(kl.GRUCell(UNITS), return_state=True)),
        "rnn_of-cells": lambda: model(kl.RNN(mixed_cells(), **FORMS["steps_state"])),
        "rnn_of-cells-back": lambda: model(kl.RNN(mixed_cells(), **FORMS["back_steps_state"])),
        "rnn_of-cells-initial_state": stack_with_initial_state,
        "rnn_of-cells-unmasked": lambda: unmasked(kl.RNN(mixed_cells(), return_state=True)),
        "zero_output_for_mask-steps": lambda: model(
            kl.RNN(kl.LSTMCell(UNITS), return_sequences=True, zero_output_for_mask=True)
        ),
        "zero_output_for_mask-last": lambda: model(
            kl.RNN(kl.GRUCell(UNITS), zero_output_for_mask=True, go_backwards=True)
        ),
        "mask_zero": lambda: embedded(kl.LSTM(UNITS, return_sequences=True), kl.GRU(3)),
        "mask_through_back": lambda: embedded(
            kl.LSTM(UNITS, return_sequences=True, go_backwards=True), kl.GRU(3)
        ),
        "time_distributed-dense": lambda: embedded(
            kl.LSTM(UNITS, return_sequences=True), kl.TimeDistributed(kl.Dense(2, "softmax"))
        ),
        "time_distributed-recurrent": time_distributed_recurrent,
        "time_distributed-masked": time_distributed_masked,
        "time_distributed-images": time_distributed_images,
        "time_distributed-model": time_distributed_model,
        "time_distributed-sentences": time_distributed_sentences,
        "repeat-vector": repeat_vector,
        "repeat-dynamic": repeat_to_dynamic_length,
        "nested": nested,
        "shared-dicts": shared,
        "sequential": sequential,
        "subclassed": subclassed,
        "subclassed-two_parameters": two_parameters,
        "dense-activations": dense_activations,
        "where": where,
    }


ROWS = _rows()
