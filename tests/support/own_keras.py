"""Keras models as users have them, for tests of exporting them."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Scale(layers.Layer):
    """A layer of the user's own that nothing registers."""

    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Halves(layers.Layer):
    """Casts to float32 by name, whatever it is given: by Keras, or by the operator itself."""

    def __init__(self, itself=False, **options):
        super().__init__(**options)
        self.itself = itself

    def call(self, x):
        if self.itself:
            return tf.raw_ops.Cast(x=x, DstT=tf.float32) / 2
        return keras.ops.cast(x, "float32") / 2

    def get_config(self):
        return {**super().get_config(), "itself": self.itself}


class Tagger(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed = layers.Embedding(20, 4, mask_zero=True)
        self.lstm = layers.LSTM(5, return_sequences=True)
        self.head = layers.Dense(3)

    def call(self, tokens, training=None):
        return {"tags": self.head(self.lstm(self.embed(tokens)))}


def on_frames(*parts):
    keras.utils.set_random_seed(1)
    x = keras.Input((None, 4), name="x")
    y = x
    for part in parts:
        y = part(y)
    return keras.Model(x, y)


def bilstm():
    keras.utils.set_random_seed(1)
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    y = layers.Embedding(20, 4, mask_zero=True)(tokens)
    y = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(y)
    return keras.Model(tokens, layers.Dense(3, activation="softmax", name="tags")(y))


def sequential():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((None, 4), name="x"), layers.GRU(5), layers.Dense(3)])


def normalised(adapted=True):
    """Frames whose mean and deviation a layer has seen; or has not, which is not far from it."""
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(1e-3, 1, (4000, 4)).astype(np.float32))
    if not adapted:
        layer = layers.Normalization(mean=0.0, variance=1.0)
    return on_frames(layer, layers.GRU(5, return_sequences=True))


def custom():
    return on_frames(layers.GRU(5, return_sequences=True), Scale(3.0, name="scaled"))


def masking():
    return on_frames(layers.Masking(-1.0), layers.GRU(5, return_sequences=True, name="steps"))


def casting(itself=False):
    return on_frames(layers.GRU(5, return_sequences=True), Halves(itself), layers.Dense(3))


def strided():
    conv = layers.Conv1D(4, 5, strides=2)
    return on_frames(conv, layers.GRU(5, return_sequences=True, name="steps"))


def lambdas():
    return on_frames(layers.GRU(5), layers.Lambda(lambda y: y * 2))


def float_tokens():
    keras.utils.set_random_seed(1)
    tokens = keras.Input((None,), name="tokens")
    return keras.Model(tokens, layers.LSTM(5)(layers.Embedding(20, 4, mask_zero=True)(tokens)))


def masks():
    keras.utils.set_random_seed(1)
    x, mask = keras.Input((None, 4), name="x"), keras.Input((None,), dtype="bool", name="mask")
    return keras.Model({"x": x, "mask": mask}, {"last": layers.GRU(5)(x, mask=mask)})


def stateful():
    x = keras.Input(batch_shape=(2, None, 4), name="x")
    return keras.Model(x, layers.LSTM(5, return_sequences=True, stateful=True)(x))


def half():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return sequential()
    finally:
        keras.config.set_dtype_policy("float32")
