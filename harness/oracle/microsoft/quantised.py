"""Products with weights in few bits; inputs that are quantised when they are run.

An input's scale and zero point come from its own smallest and largest value, as in
``DynamicQuantizeLinear``. ONNX Runtime's LSTM quantises the input of all steps at once, and at
every step the hidden state of all rows, or of each thread's. In float64 that is all rows and in
float32 each row by itself, so that the two differ by what the number of threads decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.core.schema import Array
from harness.graphs.recurrent import RECURRENT
from harness.oracle.activations import resolved
from harness.oracle.recurrent import DIRECTIONS

INTEGERS = 4
"""The accuracy level that allows a product of integers."""


def rounded(x: Array, axis: int | None = None) -> Array:
    """Return values as they are after quantisation to 8 bits: together, or by ``axis`` for each.

    Quotients are of float32, as the scale is: that of an even range is a tie, which decides for
    every value.
    """
    narrow = x.astype(np.float32)
    low = np.minimum(narrow.min(axis, keepdims=True, initial=0), 0)
    high = np.maximum(narrow.max(axis, keepdims=True, initial=0), 0)
    scale = np.where(high > low, (high - low) / np.float32(255), np.float32(1))
    zero = np.clip(np.rint(-low / scale), 0, 255)
    steps = np.clip(np.rint(narrow / scale) + zero, 0, 255) - zero
    return np.asarray(steps.astype(x.dtype) * scale.astype(x.dtype))


def rounded_blocks(x: Array, size: int) -> Array:
    """Return values quantised to -127..127, with a scale for each block of the last axis."""
    width = x.shape[-1]
    blocks = np.pad(x, [*[(0, 0)] * (x.ndim - 1), (0, -width % size)])
    blocks = blocks.reshape(*x.shape[:-1], -1, size)
    scale = np.abs(blocks).max(-1, keepdims=True, initial=0) / 127
    scale = np.where(scale > 0, scale, 1)
    return np.asarray((np.rint(blocks / scale) * scale).reshape(*x.shape[:-1], -1)[..., :width])


def matmul(
    a: Array,
    b: Array,
    a_scale: Array,
    b_scale: Array,
    a_zero_point: Array | None = None,
    b_zero_point: Array | None = None,
    bias: Array | None = None,
) -> tuple[Array]:
    """Return the product of two matrices of integers, each with its scale and zero point."""
    y = wide(a, a_zero_point, a_scale.dtype) @ wide(b, b_zero_point, a_scale.dtype)
    y = y * (a_scale * b_scale)
    return (y if bias is None else y + bias,)


def dynamic_matmul(
    a: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array | None = None,
    bias: Array | None = None,
) -> tuple[Array]:
    y = rounded(a) @ (wide(b, b_zero_point, a.dtype) * b_scale)
    return (y if bias is None else y + bias,)


def matmul_n_bits(
    a: Array,
    b: Array,
    scales: Array,
    zero_points: Array | None = None,
    g_idx: Array | None = None,
    bias: Array | None = None,
    *,
    K: int,  # noqa: N803
    N: int,  # noqa: N803
    block_size: int,
    bits: int = 4,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> tuple[Array]:
    """Return ``a @ b.T`` of weights [N, blocks, bytes], whose low bits come first.

    An ``accuracy_level`` of 4 lets a runtime quantise the input: it is in float32 and is not in
    float64, so that the two differ by what is allowed. NotImplementedError for reordered blocks.
    """
    if g_idx is not None or weight_prepacked:
        raise NotImplementedError("the oracle has no MatMulNBits with g_idx or prepacked weights")
    if accuracy_level == INTEGERS and a.dtype != np.float64:
        a = rounded_blocks(a, block_size).astype(a.dtype)
    blocks = -(-K // block_size)
    zero: Any = float(1 << (bits - 1))
    if zero_points is not None:
        zero = zero_points.reshape(N, -1)
        zero = _unpacked(zero, bits) if zero.dtype == np.uint8 else zero
        zero = zero[:, :blocks, None].astype(a.dtype)
    weights = _unpacked(b.reshape(N, blocks, -1), bits).astype(a.dtype)
    weights = (weights - zero) * scales.reshape(N, blocks, 1)
    y = a @ weights.reshape(N, -1)[:, :K].T
    return (y if bias is None else y + bias,)


def lstm(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    w_scale: Array | None = None,
    w_zero_point: Array | None = None,
    r_scale: Array | None = None,
    r_zero_point: Array | None = None,
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Sequence[str] | None = None,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    clip: float | None = None,
    input_forget: int = 0,
) -> tuple[Array, ...]:
    """Return Y, Y_h, Y_c of weights [directions, inputs, 4 * units] with gates i, o, f, c.

    Rows that ended before the last step have no part in the scale of the hidden state, and steps
    that no row has none in that of the input.
    """
    assert w_scale is not None
    assert r_scale is not None
    (steps, rows, _), backward = x.shape, DIRECTIONS[direction]
    shape = len(backward), rows, hidden_size
    lens = np.full(rows, steps) if sequence_lens is None else sequence_lens
    longest = int(lens.max(initial=0))
    kernels = _weights(w, w_zero_point, w_scale, x.dtype)
    loops = _weights(r, r_zero_point, r_scale, x.dtype)
    functions = resolved(
        activations,
        activation_alpha,
        activation_beta,
        RECURRENT["LSTM"].activations,
        len(backward),
    )
    y = np.zeros((steps, shape[0], rows, hidden_size), x.dtype)
    ends = [np.zeros(shape, x.dtype) if s is None else s.copy() for s in (initial_h, initial_c)]
    limit = clip or np.inf
    together = None if x.dtype == np.float64 else -1
    for d, reverse in enumerate(backward):
        f, g, h = functions[d]
        bias = 0.0 if b is None else np.add(*np.split(b[d], 2))
        p_i, p_o, p_f = np.split(np.zeros(3 * hidden_size, x.dtype) if p is None else p[d], 3)
        projected = rounded(x[:longest]) @ kernels[d] + bias
        hidden, memory = ends[0][d], ends[1][d]
        for step in range(longest):
            row = np.where(lens > step, lens - 1 - step if reverse else step, 0)
            going = (lens > step)[:, None]
            fed = rounded(np.where((lens >= step)[:, None], hidden, 0), together) @ loops[d]
            gates = projected[row, np.arange(rows)] + fed
            i, o, forget, c = np.split(gates, 4, axis=-1)
            i = f(np.clip(i + p_i * memory, -limit, limit))
            forget = 1 - i if input_forget else f(np.clip(forget + p_f * memory, -limit, limit))
            new = forget * memory + i * g(np.clip(c, -limit, limit))
            o = f(np.clip(o + p_o * new, -limit, limit))
            hidden, memory = np.where(going, o * h(new), hidden), np.where(going, new, memory)
            valid = np.flatnonzero(lens > step)
            y[row[valid], d, valid] = hidden[valid]
        empty = (lens <= 0)[:, None]
        ends[0][d], ends[1][d] = np.where(empty, 0, hidden), np.where(empty, 0, memory)
    return y, *ends


def _weights(w: Array, zero: Array | None, scale: Array, dtype: Any) -> Array:
    """Return weights with one scale, or one of each column, for each direction."""
    scale = scale.reshape(len(w), 1, -1)
    zero = None if zero is None else zero.reshape(len(w), 1, -1)
    return np.asarray(wide(w, zero, dtype) * scale)


def wide(x: Array, zero: Array | None, dtype: Any) -> Array:
    return x.astype(dtype) if zero is None else x.astype(dtype) - zero.astype(dtype)


def _unpacked(packed: Array, bits: int) -> Array:
    """Return the numbers of ``bits`` bits in bytes, along the last axis."""
    if bits not in (2, 4, 8):
        raise NotImplementedError(f"the oracle has no weights of {bits} bits; it has 2, 4 and 8")
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return np.asarray(values.reshape(*packed.shape[:-1], -1))
