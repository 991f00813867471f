"""Keras recurrent cells as ONNX ``LSTM``, ``GRU`` and ``RNN`` nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from harness.core import places
from harness.core.errors import ExportError
from harness.core.places import at
from harness.exporters.keras.tf_graph import Tensor, node
from harness.graphs.recurrent import gate_order

AS_A_LOOP = "tf2onnx may write it as a Loop"

Array = NDArray[np.float32]
Cell = Any

Activation = tuple[str, float | None, float | None]
"""ONNX's name, alpha and beta; None where the function takes no such parameter."""
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


def unpack(layer: layers.RNN) -> list[Cell]:
    """Return the cells of a recurrent layer; ExportError for one that is not Keras' own."""
    stacked = type(layer.cell) is layers.StackedRNNCells
    cells: list[Cell] = layer.cell.cells if stacked else [layer.cell]
    for cell in cells:
        if type(cell) not in _GATES:
            raise ExportError(
                f"layer {layer.name!r}: cell {type(cell).__name__} has no ONNX equivalent"
                f"{at(places.of_class(type(cell)))}; "
                f"expected one of: {', '.join(kind.__name__ for kind in _GATES)}; {AS_A_LOOP}"
            )
        if not cell.built:
            raise ExportError(f"layer {layer.name!r}: its cell has no weights yet; call it once")
    return cells


def recurrent_node(
    cell: Cell,
    x: Tensor,
    states: Sequence[Tensor | None],
    direction: str,
    lengths: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Add one node over time; return Y [T, 1, B, U] and the final states, each [1, B, U].

    ``x`` is [T, B, F]; ``states`` holds h (for an LSTM h and c), [1, B, U], or None for zeros;
    ``lengths`` [B] int32 is the number of steps after which each row's final states are taken.
    """
    op = _GATES[type(cell)][0]
    results: tuple[Tensor, ...] = node(
        op,
        x,
        *(weight[None] for weight in _weights(cell)),
        lengths,
        *states,
        hidden_size=cell.units,
        direction=direction,
        linear_before_reset=int(cell.reset_after) if op == "GRU" else None,
        **_activations(cell),
    )
    return results


def _activations(cell: Cell) -> dict[str, Any]:
    """Return the attributes of the gates' activations; none where they are ONNX's defaults."""
    gates = [getattr(cell, "recurrent_activation", None), cell.activation]
    functions = [function for function in gates if function is not None]
    for function in functions:
        if function not in _ACTIVATIONS:
            name = getattr(function, "__name__", type(function).__name__)
            raise ExportError(
                f"cell {cell.path!r}: ONNX's recurrent nodes have no activation {name!r}; "
                f"expected one of: {', '.join(f.__name__ for f in _ACTIVATIONS)}; {AS_A_LOOP}"
            )
    if functions == [keras.activations.sigmoid, keras.activations.tanh][-len(functions) :]:
        return {}
    if type(cell) is layers.LSTMCell:
        functions.append(cell.activation)
    names, alphas, betas = zip(*(_ACTIVATIONS[function] for function in functions), strict=True)
    return {
        "activations": list(names),
        "activation_alpha": [alpha for alpha in alphas if alpha is not None] or None,
        "activation_beta": [beta for beta in betas if beta is not None] or None,
    }


def _weights(cell: Cell) -> tuple[Array, Array, Array]:
    """Return W [G * U, F], R [G * U, U] and B [2 * G * U], gates in ONNX order."""
    with tf.init_scope():
        kernel, recurrent = np.asarray(cell.kernel), np.asarray(cell.recurrent_kernel)
        bias = np.zeros(kernel.shape[1], np.float32) if cell.bias is None else np.asarray(cell.bias)
    biases = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    order = gate_order(*_GATES[type(cell)])

    def ordered(weight: Array) -> Array:
        return np.concatenate([np.split(weight, len(order), axis=-1)[g] for g in order], axis=-1)

    return ordered(kernel).T, ordered(recurrent).T, ordered(biases).reshape(-1)


_GATES = {
    layers.LSTMCell: ("LSTM", "ifco"),
    layers.GRUCell: ("GRU", "zrh"),
    layers.SimpleRNNCell: ("RNN", "h"),
}
"""ONNX's operator for a cell, and the cell's gates in Keras' order."""
