"""The mathematics of the oracles in float64 NumPy, independent of every framework.

Parameters are one flat dict, ``"<layer>.<parameter>"`` to array, in one layout for both
frameworks: ``table`` [vocabulary, features]; ``kernel`` [in, out] and ``bias`` [out]; an LSTM's
``kernel`` [in, 4 * units], ``recurrent_kernel`` [units, 4 * units], ``bias`` and, where the
framework has a second one, ``recurrent_bias`` [4 * units], gates in the order i f g o.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.schema import Arrays, PaddedSteps

Array = NDArray[Any]
State = tuple[Array, Array]


def sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def embedding(params: Arrays, layer: str, ids: Array) -> Array:
    return np.asarray(params[f"{layer}.table"].astype(np.float64)[ids])


def dense(params: Arrays, layer: str, x: Array) -> Array:
    return np.asarray(
        x @ params[f"{layer}.kernel"].astype(np.float64)
        + params[f"{layer}.bias"].astype(np.float64)
    )


def lstm(
    params: Arrays,
    layer: str,
    x: Array,
    state: State | None = None,
    valid: Array | None = None,
    padded: PaddedSteps = "repeat",
) -> tuple[Array, State]:
    """Hochreiter and Schmidhuber (1997) with forget gates (Gers et al., 2000).

    ``x`` [batch, steps, features]; ``state`` (h, c), each [batch, units], zeros by default;
    ``valid`` [batch, steps] bool. A step that is not valid carries the state and yields the last
    valid output (zero before the first) or, with ``padded="zero"``, zero. Returns the outputs
    [batch, steps, units] and the final (h, c): for a row with no valid step, the initial one.
    """
    kernel = params[f"{layer}.kernel"].astype(np.float64)
    recurrent = params[f"{layer}.recurrent_kernel"].astype(np.float64)
    bias = params[f"{layer}.bias"].astype(np.float64)
    if f"{layer}.recurrent_bias" in params:
        bias = bias + params[f"{layer}.recurrent_bias"].astype(np.float64)
    batch, steps, _ = x.shape
    units = recurrent.shape[0]
    h, c = state if state is not None else (np.zeros((batch, units)), np.zeros((batch, units)))
    h, c = h.astype(np.float64), c.astype(np.float64)
    projected = x.astype(np.float64) @ kernel + bias
    outputs = np.zeros((batch, steps, units))
    last = np.zeros((batch, units))
    for t in range(steps):
        gates = projected[:, t] + h @ recurrent
        i, f, o = (sigmoid(gates[:, k * units : (k + 1) * units]) for k in (0, 1, 3))
        next_c = f * c + i * np.tanh(gates[:, 2 * units : 3 * units])
        next_h = o * np.tanh(next_c)
        if valid is None:
            h, c = next_h, next_c
            outputs[:, t] = h
            continue
        now = valid[:, t, None]
        h, c = np.where(now, next_h, h), np.where(now, next_c, c)
        last = np.where(now, next_h, last if padded == "repeat" else 0.0)
        outputs[:, t] = last
    return outputs, (h, c)


def last_valid(outputs: Array, valid: Array) -> Array:
    """The output at each row's last valid step: [batch, units]; zero for a row without one."""
    steps = outputs.shape[1]
    last = steps - 1 - valid[:, ::-1].argmax(axis=1)
    picked = outputs[np.arange(len(outputs)), last]
    return np.asarray(np.where(valid.any(axis=1)[:, None], picked, 0.0))
