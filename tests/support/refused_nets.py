"""Nets of a user that cannot be exported, each for another reason: PyTorch's and Keras'."""

import keras
import numpy as np
import tensorflow as tf
import torch
from keras import layers as kl
from keras import ops
from torch import nn


class Net(nn.Module):
    """Two layers, and between them what is refused."""

    def __init__(self, body, inner=None):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.inner = inner
        self.seen = 0
        self.body = body

    def forward(self, x):
        return self.body(self, self.linear(x))


def number(net, y):
    ramp = torch.tensor([1.0 / (i + 1) for i in range(int(y.shape[1]))])
    return y * ramp[:, None]


def branch(net, y):
    return y * 2 if y.sum() > 0 else y


def item_branch(net, y):
    return y * 2 if y.abs().max().item() > 90.0 else y


def loop_on_value(net, y):
    while y.abs().max() > 0.1:
        y = y * 0.5
    return y


def values(net, y):
    return y * sum(y[:, 0, 0].tolist())


def through_numpy(net, y):
    return torch.from_numpy(np.sort(y.detach().numpy(), 1))


def no_operator(net, y):
    return torch.special.bessel_j0(y)


def decomposed(net, y):
    return torch.linalg.eigvalsh(y.transpose(1, 2) @ y)


def parts(net, y):
    return y.chunk(3, dim=1)[-1].sum(1)


def single_row(net, y):
    return y * 2 if y.shape[0] == 1 else y


def uneven_loop(net, y):
    h, seen = y[:, 0], []
    for t in range(y.shape[1]):
        h = torch.tanh(net.inner(h) + y[:, t]) * (0.5 if len(seen) > 2 and t % 2 else 1.0)
        seen.append(h)
    return torch.stack(seen, 1)


def text(net, y):
    return y, "text"


def squeezed(net, y):
    return y.squeeze()


def complex_numbers(net, y):
    return torch.fft.fft(y, dim=1)


def deeper(net, y):
    return net.inner(y)


class Deeper(nn.Module):
    def forward(self, y):
        return y.flip(1) if bool((y > 0).all()) else y


def fixed(net, y):
    return y.reshape(-1, 21)


def counted(net, y):
    return y[:, : int((y[0, :, 0] > 9).sum()) + 1] * 2


TORCH = {
    "a length as a number": (number, None, "'time' becomes a plain Python number"),
    "a branch on a value": (branch, None, "branch .* value of a tensor"),
    "a branch on an item": (item_branch, None, "branch .* value of a tensor"),
    "a loop on a value": (loop_on_value, None, "branch .* value of a tensor"),
    "values as a list": (values, None, "'batch' becomes a plain Python number"),
    "NumPy": (through_numpy, None, "trace fails"),
    "no operator": (no_operator, None, "no ONNX operator for .*bessel_j0"),
    "no operator once taken apart": (decomposed, None, "no ONNX operator for .*eigh"),
    "parts": (parts, None, "depends on the size of axis 'time'"),
    "one row": (single_row, None, "another way at batch or length 1"),
    "an uneven loop": (uneven_loop, lambda: nn.Linear(3, 3), "'time' becomes a plain Python"),
    "a text": (text, None, "is a str"),
    "squeeze": (squeezed, None, "other sizes"),
    "complex numbers": (complex_numbers, None, "complex64"),
    "a module inside": (deeper, Deeper, "inner: a Python branch"),
    "a fixed reshape": (fixed, None, "none of the sizes"),
}
"""The body, what makes the inner module, and the words that are expected."""
OF_OUTPUTS = {"a text", "squeeze", "complex numbers", "a fixed reshape"}
"""Those that end before the export: PyTorch tells of no line."""


class Cell(kl.Layer):
    """An own recurrent cell with what ONNX has no operator for."""

    state_size = output_size = 3

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3))

    def call(self, x, states):
        h = tf.math.special.bessel_j0(ops.matmul(x, self.kernel) + states[0])
        return h, [h]


class Same(kl.Layer):
    """A layer whose output is shaped as its input."""

    def compute_output_shape(self, shape):
        return shape


class Bessel(Same):
    def call(self, x):
        return bessel(x)


class Scanned(Same):
    def call(self, x):
        steps = ops.transpose(x, (1, 0, 2))
        return ops.transpose(ops.scan(_bessel_step, x[:, 0], steps)[1], (1, 0, 2))


class Conditional(Same):
    def call(self, x):
        return ops.cond(ops.sum(x) > 0, lambda: bessel(x), lambda: x)


class Sorted(Same):
    def call(self, x):
        return tf.ensure_shape(tf.numpy_function(np.sort, [x], x.dtype), [None, None, 4])


def bessel(x):
    return tf.math.special.bessel_j0(x)


def _bessel_step(total, now):
    return bessel(total) + now, total


class Branching(keras.Model):
    def call(self, x):
        return x * 2 if ops.sum(x) > 0 else x


def _through(*layers):
    x = y = keras.Input((None, 4), name="x")
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y, name="net")


KERAS = {
    "a cell of one's own": (
        lambda: _through(kl.RNN(Cell(), return_sequences=True, name="own")),
        "'own': cell Cell has no ONNX",
    ),
    "an activation": (
        lambda: _through(kl.LSTM(3, activation="gelu", return_sequences=True)),
        "no activation 'gelu'",
    ),
    "an operator": (lambda: _through(Bessel(name="waves")), "waves.*BesselJ0"),
    "a scan": (lambda: _through(Scanned(name="sums")), "sums.*loops over time"),
    "a branch": (lambda: _through(Conditional(name="two")), "two.*takes a branch"),
    "a branch in Python": (lambda: Branching(name="net"), "net: a Python branch"),
    "NumPy": (lambda: _through(Sorted(name="sorts")), "sorts|net"),
    "half": (lambda: _through(kl.LSTM(3, dtype="mixed_float16", name="half")), "'half'"),
    "time-distributed code of one's own": (
        lambda: _through(kl.TimeDistributed(Bessel(name="mix"))),
        "'mix'",
    ),
}
