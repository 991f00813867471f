"""ONNX's recurrent operators: their gates, inputs, outputs and activations.

https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html and onnx__RNN.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from harness.core.schema import Array
from harness.graphs.walk import MAIN

_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_OUTPUTS = ("Y", "Y_h", "Y_c")
X, W, R, B, SEQUENCE_LENS, INITIAL_H, INITIAL_C, P = range(len(_INPUTS))
"""W and R are [directions, gates · units, features or units], B is [directions, 2 · gates · units],
the biases of the input first; the states are [directions, batch, units]."""
Y, Y_H, Y_C = range(len(_OUTPUTS))
STACKED = {W: 1, R: 1, B: 2}
"""How many times each weight stacks all gates along axis 1."""


class Operator(NamedTuple):
    """An operator's gates, in the order in which the weights stack them, and its names; the
    ``activations`` are the default ones of each direction.
    """

    gates: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    activations: tuple[str, ...]


RECURRENT = {
    "LSTM": Operator("iofc", _INPUTS, _OUTPUTS, ("Sigmoid", "Tanh", "Tanh")),
    "GRU": Operator("zrh", _INPUTS[:INITIAL_C], _OUTPUTS[:Y_C], ("Sigmoid", "Tanh")),
    "RNN": Operator("h", _INPUTS[:INITIAL_C], _OUTPUTS[:Y_C], ("Tanh",)),
}
_PARAMETERS: dict[str, tuple[float | None, ...]] = {
    "affine": (None, None),
    "scaledtanh": (None, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01,),
    "thresholdedrelu": (1.0,),
    "elu": (1.0,),
}


def is_recurrent(node: Any) -> bool:
    return node.op_type in RECURRENT and node.domain in MAIN


def directions(node: Any) -> int:
    """Return the number of directions of a recurrent node."""
    return 1 + any(e.name == "direction" and e.s == b"bidirectional" for e in node.attribute)


def parameters(activation: str) -> tuple[float | None, ...]:
    """Return the default alpha and beta of an activation; None for one without a default.

    The defaults are those of the operator of the same name; the case of a name does not count.
    ``activation_alpha`` and ``activation_beta`` have values only for activations that take them.
    """
    return _PARAMETERS.get(activation.lower(), ())


def gate_order(op_type: str, letters: str) -> list[int]:
    """Return the place of each gate of an operator among the same letters in another order."""
    return [letters.index(gate) for gate in RECURRENT[op_type].gates]


def by_gate(weights: Array, gates: int, parts: int = 1) -> Array:
    """Return the weights with axis 1 split into ``parts``, gates and units."""
    return weights.reshape(weights.shape[0], parts, gates, -1, *weights.shape[2:])


def reordered(weights: Array, order: Sequence[int], parts: int = 1) -> Array:
    """Return the weights with their gates in another order."""
    moved = by_gate(weights, len(order), parts)[:, :, list(order)]
    return np.ascontiguousarray(moved).reshape(weights.shape)


def transposed(weights: Array, gates: int) -> Array | None:
    """Return the weights with the matrix of every gate transposed; None where it is not square."""
    if weights.ndim != 3 or weights.shape[1] != gates * weights.shape[2]:
        return None
    return np.swapaxes(by_gate(weights, gates), -1, -2).reshape(weights.shape)
