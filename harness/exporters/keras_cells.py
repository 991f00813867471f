"""Keras recurrent cells as ONNX ``LSTM``, ``GRU`` and ``RNN`` nodes: weights, gates, activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.errors import ExportError
from harness.exporters.tf_to_onnx import Tensor, node

Array = NDArray[np.float32]
Cell = Any

# (name, alpha, beta) in ONNX; None where the function takes no such parameter.
Activation = tuple[str, float | None, float | None]
_ACTIVATIONS: dict[Callable[..., Any], Activation] = {
    keras.activations.tanh: ("Tanh", None, None),
    keras.activations.sigmoid: ("Sigmoid", None, None),
    keras.activations.relu: ("Relu", None, None),
    keras.activations.linear: ("Affine", 1.0, 0.0),
    keras.activations.hard_sigmoid: ("HardSigmoid", 1 / 6, 0.5),
    keras.activations.leaky_relu: ("LeakyRelu", 0.2, None),
    keras.activations.elu: ("Elu", 1.0, None),
    keras.activations.softsign: ("Softsign", None, None),
    keras.activations.softplus: ("Softplus", None, None),
}


def unpack(layer: keras.layers.RNN) -> list[Cell]:
    """The cells of a recurrent layer, the first one first; ExportError for one of its own making."""
    stacked = type(layer.cell) is keras.layers.StackedRNNCells
    cells: list[Cell] = layer.cell.cells if stacked else [layer.cell]
    for cell in cells:
        if type(cell) not in _PACKERS:
            known = ", ".join(kind.__name__ for kind in _PACKERS)
            raise ExportError(
                f"layer {layer.name!r}: cell {type(cell).__name__} has no ONNX equivalent; "
                f"expected one of: {known}"
            )
        if not cell.built:
            raise ExportError(f"layer {layer.name!r}: its cell has no weights yet; call it once")
    return cells


def recurrent_node(
    cells: Sequence[Cell],
    x: Tensor,
    states: Sequence[Tensor | None],
    direction: str,
    lengths: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """One node over time: Y [T, D, B, U] and the final states, each [D, B, U].

    ``cells`` holds one cell, or two of one kind for ``direction="bidirectional"`` (D = 2);
    ``x`` is [T, B, F]; ``states`` holds h (for an LSTM h and c), [D, B, U], or None for zeros.
    """
    op = _PACKERS[type(cells[0])][0]
    weights = [np.stack(parts) for parts in zip(*(_weights(cell) for cell in cells), strict=True)]
    activations = [a for cell in cells for a in _activations(cell)]
    alphas = [alpha for _, alpha, _ in activations if alpha is not None]
    betas = [beta for _, _, beta in activations if beta is not None]
    return node(  # type: ignore[no-any-return]
        op,
        x,
        *weights,
        lengths,
        *states,
        hidden_size=cells[0].units,
        direction=direction,
        activations=[name for name, _, _ in activations],
        activation_alpha=alphas or None,
        activation_beta=betas or None,
        linear_before_reset=int(cells[0].reset_after) if op == "GRU" else None,
    )


def fusable(a: Cell, b: Cell) -> bool:
    """Whether the two cells can be the two directions of one node."""
    same = ("units", "reset_after")
    return type(a) is type(b) and all(getattr(a, n, None) == getattr(b, n, None) for n in same)


def _activations(cell: Cell) -> list[Activation]:
    recurrent = getattr(cell, "recurrent_activation", None)
    functions = [cell.activation] if recurrent is None else [recurrent, cell.activation]
    if type(cell) is keras.layers.LSTMCell:
        functions.append(cell.activation)
    for function in functions:
        if function not in _ACTIVATIONS:
            name = getattr(function, "__name__", type(function).__name__)
            known = ", ".join(f.__name__ for f in _ACTIVATIONS)
            raise ExportError(
                f"cell {cell.path!r}: ONNX recurrent nodes have no activation {name!r}; "
                f"expected one of: {known}"
            )
    return [_ACTIVATIONS[function] for function in functions]


def _weights(cell: Cell) -> tuple[Array, Array, Array]:
    """W [G * U, F], R [G * U, U] and B [2 * G * U], gates in ONNX order."""
    with tf.init_scope():
        kernel, recurrent = np.asarray(cell.kernel), np.asarray(cell.recurrent_kernel)
        bias = np.zeros(kernel.shape[1], np.float32) if cell.bias is None else np.asarray(cell.bias)
    biases = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    gates = _PACKERS[type(cell)][1]

    def ordered(weight: Array) -> Array:
        return np.concatenate([np.split(weight, len(gates), axis=-1)[g] for g in gates], axis=-1)

    return ordered(kernel).T, ordered(recurrent).T, ordered(biases).reshape(-1)


# ONNX op and, in ONNX's order, where Keras keeps each gate: i o f c from i f c o; z r h as it is.
_PACKERS: dict[type, tuple[str, tuple[int, ...]]] = {
    keras.layers.LSTMCell: ("LSTM", (0, 3, 1, 2)),
    keras.layers.GRUCell: ("GRU", (0, 1, 2)),
    keras.layers.SimpleRNNCell: ("RNN", (0,)),
}
