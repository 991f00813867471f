"""The mathematics of the oracles in float64 NumPy, independent of every framework.

Parameters are a flat dict, ``"<layer>.<parameter>"`` to array, in one layout for both
frameworks: ``table`` [vocabulary, features]; ``kernel`` [in, out] and ``bias`` [out]; a
convolution's ``kernel`` [width, in, out]; a norm's ``gamma`` and ``beta`` [features]; an LSTM's
``kernel`` [in, 4 * units], ``recurrent_kernel`` [units, 4 * units], ``bias`` and, where the
framework has a second one, ``recurrent_bias`` [4 * units], gates in the order i f g o; a GRU's the
same with 3 * units, gates in the order z r h, and a ``recurrent_bias`` only where the reset gate
comes after. The two directions of a bidirectional layer are ``<layer>_forward`` and
``<layer>_backward``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.schema import Arrays, PaddedSteps

Array = NDArray[Any]
State = tuple[Array, Array]
Cell = Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]


def sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def embedding(params: Arrays, layer: str, ids: Array) -> Array:
    return np.asarray(_wide(params, layer, "table")[ids])


def dense(params: Arrays, layer: str, x: Array) -> Array:
    return np.asarray(x @ _wide(params, layer, "kernel") + _wide(params, layer, "bias"))


def conv(params: Arrays, layer: str, x: Array, stride: int) -> Array:
    """Return a convolution over the steps of ``x`` [batch, steps, features], zeros at both ends.

    ``kernel`` is [width, in, out], its width odd.
    """
    kernel = _wide(params, layer, "kernel")
    width, steps = len(kernel), x.shape[1]
    x = np.pad(x.astype(np.float64), ((0, 0), (width // 2, width // 2), (0, 0)))
    taps = [x[:, tap : tap + steps : stride] @ kernel[tap] for tap in range(width)]
    return np.asarray(sum(taps) + _wide(params, layer, "bias"))


def layer_norm(params: Arrays, layer: str, x: Array, epsilon: float) -> Array:
    mean = x.mean(axis=-1, keepdims=True)
    spread = np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + epsilon)
    return np.asarray(
        (x - mean) / spread * _wide(params, layer, "gamma") + _wide(params, layer, "beta")
    )


def relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def attention(query: Array, key: Array, value: Array, seen: Array, heads: int = 1) -> Array:
    """Return the scaled dot-product attention of Vaswani et al. (2017), [batch, queries, features].

    All are [batch, steps, features], which the heads share out in order; ``seen`` [batch, queries,
    keys] bool says which keys a query sees. One that sees none has the mean of all values.
    """

    def split(x: Array) -> Array:
        return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)

    q, k, v = split(query), split(key), split(value)
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    mixed = softmax(np.where(seen[:, None], scores, -1e4)) @ v
    return np.asarray(mixed.swapaxes(1, 2).reshape(query.shape))


def lstm(
    params: Arrays,
    layer: str,
    x: Array,
    state: State | None = None,
    valid: Array | None = None,
    padded: PaddedSteps = "repeat",
) -> tuple[Array, State]:
    """Run an LSTM: Hochreiter and Schmidhuber (1997) with forget gates (Gers et al., 2000).

    ``x`` [batch, steps, features]; ``state`` (h, c), each [batch, units], zeros by default;
    ``valid`` [batch, steps] bool. A step that is not valid carries the state and yields the last
    valid output (zero before the first) or, with ``padded="zero"``, zero. Return the outputs
    [batch, steps, units] and the final (h, c): for a row with no valid step, the initial one.
    """
    kernel, recurrent = _wide(params, layer, "kernel"), _wide(params, layer, "recurrent_kernel")
    bias = _wide(params, layer, "bias")
    if f"{layer}.recurrent_bias" in params:
        bias = bias + _wide(params, layer, "recurrent_bias")
    units = recurrent.shape[0]
    initial = state if state is not None else (np.zeros((len(x), units)),) * 2

    def cell(projected: Array, before: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = before
        gates = projected + h @ recurrent
        i, f, o = (sigmoid(gates[:, k * units : (k + 1) * units]) for k in (0, 1, 3))
        next_c = f * c + i * np.tanh(gates[:, 2 * units : 3 * units])
        return o * np.tanh(next_c), next_c

    projected = x.astype(np.float64) @ kernel + bias
    outputs, (h, c) = _over_time(cell, projected, initial, valid, padded)
    return outputs, (h, c)


def gru(
    params: Arrays,
    layer: str,
    x: Array,
    state: Array | None = None,
    valid: Array | None = None,
    padded: PaddedSteps = "repeat",
    reset_after: bool = True,
) -> tuple[Array, Array]:
    """Run a GRU: Cho et al. (2014); h = z * h_before + (1 - z) * candidate.

    The reset gate multiplies the candidate's recurrent product with its ``recurrent_bias``
    (``reset_after``, as cuDNN and PyTorch have it), or the state before that product. Shapes and
    padded steps are those of ``lstm``; the state is h alone, [batch, units].
    """
    kernel, recurrent = _wide(params, layer, "kernel"), _wide(params, layer, "recurrent_kernel")
    bias = _wide(params, layer, "bias")
    units = recurrent.shape[0]
    initial = state if state is not None else np.zeros((len(x), units))
    gates = 2 * units

    def cell_after(projected: Array, before: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = before
        product = h @ recurrent + _wide(params, layer, "recurrent_bias")
        z, r = np.split(sigmoid(projected[:, :gates] + product[:, :gates]), 2, axis=-1)
        candidate = np.tanh(projected[:, gates:] + r * product[:, gates:])
        return (z * h + (1 - z) * candidate,)

    def cell_before(projected: Array, before: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = before
        z, r = np.split(sigmoid(projected[:, :gates] + h @ recurrent[:, :gates]), 2, axis=-1)
        candidate = np.tanh(projected[:, gates:] + (r * h) @ recurrent[:, gates:])
        return (z * h + (1 - z) * candidate,)

    projected = x.astype(np.float64) @ kernel + bias
    cell = cell_after if reset_after else cell_before
    outputs, (h,) = _over_time(cell, projected, (initial,), valid, padded)
    return outputs, h


def bidirectional(
    recurrent: Callable[..., tuple[Array, Any]],
    params: Arrays,
    layer: str,
    x: Array,
    valid: Array | None = None,
    padded: PaddedSteps = "repeat",
) -> tuple[Array, tuple[Any, Any]]:
    """Run ``recurrent`` (``lstm`` or ``gru``) over ``x`` and over its reverse.

    Return the outputs in input order, the forward ones first, [batch, steps, 2 * units], and both
    final states: the backward one is that after each row's first valid step.
    """
    flipped = None if valid is None else valid[:, ::-1]
    forward, end = recurrent(params, f"{layer}_forward", x, valid=valid, padded=padded)
    backward, start = recurrent(
        params, f"{layer}_backward", x[:, ::-1], valid=flipped, padded=padded
    )
    return np.concatenate([forward, backward[:, ::-1]], axis=-1), (end, start)


def _wide(params: Arrays, layer: str, parameter: str) -> Array:
    return params[f"{layer}.{parameter}"].astype(np.float64)


def _over_time(
    cell: Cell,
    projected: Array,
    state: tuple[Array, ...],
    valid: Array | None,
    padded: PaddedSteps,
) -> tuple[Array, tuple[Array, ...]]:
    """Run ``cell`` over axis 1 of ``projected``; its output is the first part of its state."""
    state = tuple(part.astype(np.float64) for part in state)
    steps = projected.shape[1]
    last = np.zeros_like(state[0])
    outputs = np.zeros((len(last), steps, last.shape[1]))
    for t in range(steps):
        after = cell(projected[:, t], state)
        if valid is None:
            state = after
            outputs[:, t] = after[0]
            continue
        now = valid[:, t, None]
        state = tuple(np.where(now, a, b) for a, b in zip(after, state, strict=True))
        last = np.where(now, after[0], last if padded == "repeat" else 0.0)
        outputs[:, t] = last
    return outputs, state


def last_valid(outputs: Array, valid: Array) -> Array:
    """Return the output at each row's last valid step: [batch, units]; zero without one."""
    steps = outputs.shape[1]
    last = steps - 1 - valid[:, ::-1].argmax(axis=1)
    picked = outputs[np.arange(len(outputs)), last]
    return np.asarray(np.where(valid.any(axis=1)[:, None], picked, 0.0))
