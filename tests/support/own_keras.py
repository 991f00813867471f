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


class OwnCell(layers.Layer):
    """A recurrent cell of one's own."""

    state_size = output_size = 4

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1] + 4, 4), name="kernel")

    def call(self, x, states):
        h = keras.ops.tanh(keras.ops.concatenate([x, states[0]], -1) @ self.kernel)
        return h, [h]


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


def own_cell():
    return on_frames(layers.RNN(OwnCell(), return_sequences=True, name="own"))


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


def convolutional(wrapped=None, masked=False, **options):
    """A convolutional recurrence over frames of 6 places, and an LSTM after it."""
    keras.utils.set_random_seed(1)
    x = keras.Input((None, 6, 2), name="x")
    cell = layers.ConvLSTM1D(3, 3, padding="same", return_sequences=True, **options)
    if masked:
        valid = keras.ops.any(keras.ops.not_equal(x, 0), axis=(2, 3))
        return keras.Model(x, cell(x, mask=valid))
    y = layers.TimeDistributed(layers.Flatten())((wrapped or (lambda layer: layer))(cell)(x))
    return keras.Model(x, layers.LSTM(4, name="last")(y))


def images():
    keras.utils.set_random_seed(1)
    x = keras.Input((None, 5, 5, 2), name="x")
    gate = {"recurrent_activation": "hard_sigmoid", "dropout": 0.3}
    return keras.Model(x, layers.ConvLSTM2D(3, (3, 2), go_backwards=True, name="last", **gate)(x))


def documents(attends=False):
    """A document of sentences of words, where 0 is no word."""
    keras.utils.set_random_seed(1)
    words = keras.Input((None,), dtype="int32")
    y = layers.Embedding(20, 4, mask_zero=True)(words)
    if attends:
        y = layers.Bidirectional(layers.GRU(3, return_sequences=True))(y)
        y = layers.GRU(3)(layers.Attention()([y, y]))
    else:
        y = layers.LSTM(3)(y)
    sentence = keras.Model(words, y)
    document = keras.Input((None, None), dtype="int32", name="document")
    y = layers.TimeDistributed(sentence)(document)
    return keras.Model(document, layers.GRU(4, name="last")(y))


class Transforms(keras.layers.Layer):
    """Fourier transforms of each kind, along features and along time."""

    def call(self, x):
        ops = keras.ops
        real, imaginary = ops.fft2((x, ops.tanh(x)))
        back = ops.ifft2((real * 0.5, imaginary))
        turned = ops.fft((back[0], x))
        longer, shorter = ops.rfft(x, 8), ops.rfft(x, 3)
        return ops.concatenate([*turned, *longer, *shorter, *ops.rfft(x)], -1)


def transforms():
    x = keras.Input((None, 5), name="x")
    return keras.Model(x, keras.layers.Dense(3)(Transforms()(x)))
