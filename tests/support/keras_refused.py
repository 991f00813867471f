"""Keras models that have no exact native form, and the words that say why."""

import keras
import tensorflow as tf
from keras import layers as kl


class Doubled(kl.LSTMCell):
    def call(self, inputs, states, training=False):
        return super().call(2 * inputs, states, training)


class HalfRecurrence(kl.GRU):
    def inner_loop(self, sequences, initial_state, mask, training=False):
        return super().inner_loop(sequences / 2, initial_state, mask, training)


@keras.saving.register_keras_serializable("refused")
class OwnCall(kl.LSTM):
    def call(self, sequences, **kwargs):
        return super().call(2 * sequences, **kwargs)


class RowMixer(kl.Layer):
    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)

    def compute_output_shape(self, shape):
        return shape


class Counter(kl.Layer):
    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.count.assign_add(1.0)
        return x * self.count


class Cumulative(kl.Layer):
    def call(self, x):
        def step(total, now):
            return total + now, total

        steps = keras.ops.transpose(x, (1, 0, 2))
        return keras.ops.scan(step, keras.ops.zeros_like(steps[0]), steps)[0]

    def compute_output_spec(self, x):
        return keras.KerasTensor((x.shape[0], x.shape[2]))


class AlwaysTraining(kl.Layer):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x, training=True)


class Bessel(kl.Layer):
    def call(self, x):
        return tf.math.special.bessel_j0(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape)


def _through(*layers):
    x = y = keras.Input((None, 5), name="x")
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y)


def _float16():
    return _through(kl.LSTM(3, dtype="mixed_float16", name="half"))


def _stateful():
    x = keras.Input(batch_shape=(2, None, 5), name="x")
    return keras.Model(x, kl.LSTM(3, stateful=True, name="keeper")(x))


def _stateful_in_time():
    x = keras.Input(batch_shape=(2, 4, 3, 5), name="x")
    inner = kl.LSTM(3, stateful=True, name="keeper")
    return keras.Model(x, kl.TimeDistributed(inner)(x))


REFUSED = {
    "activation": (lambda: _through(kl.LSTM(3, activation="silu", name="one")), "one.*silu"),
    "gate": (lambda: _through(kl.GRU(3, recurrent_activation="gelu", name="one")), "one.*gelu"),
    "lambda-activation": (lambda: _through(kl.SimpleRNN(3, activation=lambda x: x)), "<lambda>"),
    "cell": (lambda: _through(kl.RNN(Doubled(3), name="one")), "'one': cell Doubled"),
    "cells": (lambda: _through(kl.RNN([kl.LSTMCell(3), Doubled(3)], name="one")), "Doubled"),
    "recurrence": (lambda: _through(HalfRecurrence(3, name="one")), "'one'.*inner_loop"),
    "bidirectional": (lambda: _through(kl.Bidirectional(OwnCall(3))), "Bidirectional of.*OwnCall"),
    "float16": (_float16, "'half': computes in float16"),
    "training": (
        lambda: _through(AlwaysTraining(kl.LSTM(3, dropout=0.5, name="noisy"))),
        "'noisy': called with training=True",
    ),
    "random": (
        lambda: _through(AlwaysTraining(kl.Dropout(0.5, name="noise"))),
        "noise.*random numbers",
    ),
    "stateful-unnamed": (_stateful, "'keeper' is stateful"),
    "stateful-in-time": (_stateful_in_time, "keeper"),
    "mixed-rows": (lambda: _through(kl.TimeDistributed(RowMixer(name="mix"))), "'mix'.*mix rows"),
    "variable": (lambda: _through(Counter(name="count")), "count.*changes a variable"),
    "control-flow": (lambda: _through(Cumulative(name="sums")), "sums.*loops over time"),
    "unknown-op": (lambda: _through(Bessel(name="waves")), "waves.*not supported"),
}
