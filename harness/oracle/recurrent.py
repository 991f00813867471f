"""ONNX's LSTM, GRU and RNN with every attribute and optional input, in the dtype of their input.

Formulas, gate orders and shapes: https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html and
onnx__RNN.html. Letters: T steps, B rows, I input features, H units, D directions, G gates. Past
a row's ``sequence_lens`` its Y is 0 and its state stays; the final states of a row without any
step are 0 whatever the initial ones, as in ONNX Runtime (the standard does not say).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.core.schema import Array
from harness.graphs.recurrent import RECURRENT
from harness.oracle.activations import Activation, resolved

States = tuple[Array, ...]
Cell = Callable[[Array, States], States]
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def lstm(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    *,
    clip: float | None = None,
    input_forget: int = 0,
    **attributes: Any,
) -> tuple[Array, ...]:
    """Return Y, Y_h, Y_c; the gates of W, R and B come in the order i, o, f, c, those of P i, o, f.

    The clip bounds the arguments of the gates' activations; the cell state goes into ``h`` as it
    is, as in ONNX Runtime (the standard says "the input of activations").
    """

    def cell(d: int, functions: Sequence[Activation]) -> tuple[Array, Cell]:
        size = r.shape[-1]
        bias = np.zeros(4 * size, x.dtype) if b is None else b[d, : 4 * size] + b[d, 4 * size :]
        p_i, p_o, p_f = np.split(np.zeros(3 * size, x.dtype) if p is None else p[d], 3)
        f, g, h = functions
        recurrent = np.ascontiguousarray(r[d].T)

        def step(projected: Array, states: States) -> States:
            hidden, memory = states
            i, o, forget, c = np.split(projected + hidden @ recurrent, 4, axis=-1)
            i = f(_clip(i + p_i * memory, clip))
            forget = 1 - i if input_forget else f(_clip(forget + p_f * memory, clip))
            memory = forget * memory + i * g(_clip(c, clip))
            o = f(_clip(o + p_o * memory, clip))
            return o * h(memory), memory

        return bias, step

    return _run("LSTM", cell, x, (w, r, b, p), (initial_h, initial_c), sequence_lens, **attributes)


def gru(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    clip: float | None = None,
    linear_before_reset: int = 0,
    **attributes: Any,
) -> tuple[Array, ...]:
    """Return Y, Y_h; the gates of W, R and B come in the order z, r, h."""

    def cell(d: int, functions: Sequence[Activation]) -> tuple[Array, Cell]:
        size = r.shape[-1]
        input_bias, state_bias = np.split(np.zeros(6 * size, x.dtype) if b is None else b[d], 2)
        f, g = functions
        gates = np.ascontiguousarray(r[d, : 2 * size].T)
        candidate = np.ascontiguousarray(r[d, 2 * size :].T)
        candidate_bias = state_bias[2 * size :]
        bias = input_bias + np.concatenate([state_bias[: 2 * size], np.zeros(size, x.dtype)])

        def step(projected: Array, states: States) -> States:
            (hidden,) = states
            opened = f(_clip(projected[:, : 2 * size] + hidden @ gates, clip))
            update, reset = opened[:, :size], opened[:, size:]
            if linear_before_reset:
                fed = reset * (hidden @ candidate + candidate_bias)
            else:
                fed = (reset * hidden) @ candidate + candidate_bias
            new = g(_clip(projected[:, 2 * size :] + fed, clip))
            return ((1 - update) * new + update * hidden,)

        return bias, step

    return _run("GRU", cell, x, (w, r, b, None), (initial_h,), sequence_lens, **attributes)


def rnn(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    clip: float | None = None,
    activations: Sequence[str] | None = None,
    **attributes: Any,
) -> tuple[Array, ...]:
    """Return Y, Y_h; of the standard's two default activations one direction takes the first."""

    def cell(d: int, functions: Sequence[Activation]) -> tuple[Array, Cell]:
        size = r.shape[-1]
        bias = np.zeros(size, x.dtype) if b is None else b[d, :size] + b[d, size:]
        (f,) = functions
        recurrent = np.ascontiguousarray(r[d].T)
        return bias, lambda projected, states: (f(_clip(projected + states[0] @ recurrent, clip)),)

    attributes["activations"] = list(activations or ())[: w.shape[0]]
    return _run("RNN", cell, x, (w, r, b, None), (initial_h,), sequence_lens, **attributes)


def _clip(x: Array, bound: float | None) -> Array:
    """Return ``x`` within ±``bound``; None and 0 bound nothing. ValueError for a negative bound."""
    if bound is not None and bound < 0:
        raise ValueError(f"clip is {bound:g}, expected 0 or more")
    return np.clip(x, -bound, bound) if bound else x


def _check(what: str, value: Array | None, shape: tuple[int, ...]) -> None:
    """Raise ValueError for another shape, from which NumPy might broadcast."""
    if value is not None and value.shape != shape:
        raise ValueError(f"{what} has shape {list(value.shape)}, expected {list(shape)}")


def _run(
    op_type: str,
    cell: Callable[[int, Sequence[Activation]], tuple[Array, Cell]],
    x: Array,
    weights: tuple[Array, Array, Array | None, Array | None],
    initial: Sequence[Array | None],
    lens: Array | None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Array, ...]:
    """Return Y [T, D, B, H] and each final state [D, B, H]; with ``layout`` 1 the rows come first.

    ``cell(d, functions)`` returns the step of direction ``d`` and the bias [G·H] that is added to
    the projection of its inputs. ``weights`` are W [D, G·H, I], R, B and P; ValueError where one
    has another shape than the standard gives it, or an attribute another value.
    """
    w, r, b, p = weights
    gates = len(RECURRENT[op_type].gates)
    directions, units = w.shape[0], w.shape[1] // gates
    _check("W", w, (directions, gates * units, w.shape[2]))
    _check("R", r, (directions, gates * units, units))
    _check("B", b, (directions, 2 * gates * units))
    _check("P", p, (directions, 3 * units))
    if hidden_size not in (None, units):
        raise ValueError(f"hidden_size is {hidden_size}, the weights are for {units} units")
    if direction not in DIRECTIONS:
        raise ValueError(f"unknown direction {direction!r}; choose from: {', '.join(DIRECTIONS)}")
    backward, default = DIRECTIONS[direction], RECURRENT[op_type].activations
    functions = resolved(activations, activation_alpha, activation_beta, default, len(backward))
    if directions != len(backward):
        raise ValueError(f"W is for {directions} direction(s), direction is {direction!r}")
    if layout not in (0, 1):
        raise ValueError(f"layout is {layout}, expected 0 or 1")
    if layout:
        x = x.swapaxes(0, 1)
        initial = [None if s is None else s.swapaxes(0, 1) for s in initial]
    steps, rows, _ = x.shape
    if lens is not None and lens.dtype != np.int32:
        raise ValueError(f"sequence_lens is {lens.dtype}, expected int32")
    if lens is not None and (lens.min(initial=0) < 0 or lens.max(initial=0) > steps):
        raise ValueError(f"sequence_lens {lens.tolist()} are not within 0 to {steps} steps")
    zeros = np.zeros((directions, rows, units), x.dtype)
    _check("sequence_lens", lens, (rows,))
    for state in initial:
        _check("an initial state", state, zeros.shape)
    starts = [zeros if s is None else s for s in initial]
    outputs, finals = [], []
    for d, reverse in enumerate(backward):
        bias, step = cell(d, functions[d])
        start = tuple(s[d] for s in starts)
        y, final = _scan(step, x @ w[d].T + bias, start, lens, reverse)
        outputs.append(y)
        finals.append(final)
    y = np.stack(outputs, axis=1)
    states = [np.stack(state) for state in zip(*finals, strict=True)]
    if layout:
        return (y.transpose(2, 0, 1, 3), *(s.swapaxes(0, 1) for s in states))
    return (y, *states)


def _scan(
    step: Cell, projected: Array, states: States, lens: Array | None, reverse: bool
) -> tuple[Array, States]:
    """Return the output at every step [T, B, H] and the states after the last valid one."""
    steps, rows, _ = projected.shape
    valid_steps = np.full(rows, steps) if lens is None else lens
    y = np.zeros((steps, *states[0].shape), projected.dtype)
    shortest = valid_steps.min(initial=steps)
    for t in reversed(range(steps)) if reverse else range(steps):
        new = step(projected[t], states)
        if t < shortest:
            states, y[t] = new, new[0]
            continue
        valid = (t < valid_steps)[:, None]
        states = tuple(np.where(valid, n, old) for n, old in zip(new, states, strict=True))
        y[t] = np.where(valid, new[0], 0.0)
    empty = (valid_steps == 0)[:, None]
    return y, tuple(np.where(empty, 0.0, state) for state in states)
