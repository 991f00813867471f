"""Defects in what a recurrent node computes: its direction, its variant and its activations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.graphs.attributes import attribute, set_attribute
from harness.graphs.recurrent import RECURRENT, P, directions, parameters
from harness.graphs.recurrent_edit import toggle, turn
from harness.mutation.defects.defect import Mutant, Specimen, recurrent

CLIP = 1.0
PEEPHOLE = 0.1


@dataclass(frozen=True)
class Activation:
    name: str
    alpha: float | None = None
    beta: float | None = None


NEAR_TANH = {
    "Softsign": Activation("Softsign"),
    "1.7159 tanh(2x/3)": Activation("ScaledTanh", 1.7159, 2 / 3),
    "x": Activation("Affine", 1.0, 0.0),
}


def linear_before_reset_flipped(subject: Specimen) -> Iterator[Mutant]:
    """A GRU applies its reset gate on the other side of the recurrent product."""
    for name, edit, node in recurrent(subject, "GRU"):
        toggle(node, "linear_before_reset")
        yield Mutant(name, edit.done())


def direction_flipped(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node runs from the other end, or its two directions have changed places."""
    for name, edit, node in recurrent(subject):
        turn(edit, node)
        yield Mutant(name, edit.done())


def gates_clipped(subject: Specimen) -> Iterator[Mutant]:
    """What enters the activations of a recurrent node is clipped to [-1, 1]."""
    for name, edit, node in recurrent(subject):
        set_attribute(node, "clip", CLIP)
        yield Mutant(name, edit.done())


def input_gate_coupled(subject: Specimen) -> Iterator[Mutant]:
    """An LSTM's input and forget gates are coupled."""
    for name, edit, node in recurrent(subject, "LSTM"):
        toggle(node, "input_forget")
        yield Mutant(name, edit.done())


def peepholes_added(subject: Specimen) -> Iterator[Mutant]:
    """An LSTM's gates see its cell state through peepholes of weight 0.1."""
    for name, edit, node in recurrent(subject, "LSTM"):
        if len(node.input) <= P:
            shape = (directions(node), 3 * attribute(node, "hidden_size"))
            edit.feed(node, P, edit.constant(np.full(shape, PEEPHOLE, np.float32)))
            yield Mutant(name, edit.done())


def gates_as_hard_sigmoid(subject: Specimen) -> Iterator[Mutant]:
    """The sigmoid of a recurrent node's gates is a hard sigmoid of another slope: 0.2 or 1/6."""
    for slope, alpha in {"0.2": 0.2, "1/6": 1 / 6}.items():
        yield from _replaced(subject, "Sigmoid", Activation("HardSigmoid", alpha, 0.5), slope)


def tanh_in_cell_as_near_one(subject: Specimen) -> Iterator[Mutant]:
    """The tanh of a recurrent node is replaced by a function of similar shape."""
    for title, near in NEAR_TANH.items():
        yield from _replaced(subject, "Tanh", near, title)


def tanh_in_cell_as_relu(subject: Specimen) -> Iterator[Mutant]:
    """The tanh of a recurrent node is replaced by a rectifier."""
    yield from _replaced(subject, "Tanh", Activation("Relu"))


def _replaced(subject: Specimen, kind: str, new: Activation, title: str = "") -> Iterator[Mutant]:
    """Replace every activation of a recurrent node whose name ends in ``kind`` by ``new``."""
    for name, edit, node in recurrent(subject):
        before = _activations(node)
        after = [new if old.name.endswith(kind) else old for old in before]
        if list(map(_stored, before)) != list(map(_stored, after)):
            _activate(node, after)
            yield Mutant(f"{name} {title}".rstrip(), edit.done())


def _stored(activation: Activation) -> tuple[str, list[float]]:
    """Return an activation as a file stores it, its numbers in float32."""
    numbers = np.array([activation.alpha or 0, activation.beta or 0], np.float32)
    return activation.name, numbers.tolist()


def _activations(node: Any) -> list[Activation]:
    """Return the activations of every direction, each with its alpha and beta.

    ONNX lists alphas and betas only for the activations that have them, in their order.
    """
    names = attribute(node, "activations") or RECURRENT[node.op_type].activations * directions(node)
    stated = [iter(attribute(node, f"activation_{key}", [])) for key in ("alpha", "beta")]
    return [
        Activation(name, *(next(*pair) for pair in zip(stated, parameters(name), strict=False)))
        for name in names
    ]


def _activate(node: Any, chosen: list[Activation]) -> None:
    set_attribute(node, "activations", [a.name for a in chosen])
    alphas = [a.alpha for a in chosen if a.alpha is not None]
    betas = [a.beta for a in chosen if a.beta is not None]
    set_attribute(node, "activation_alpha", alphas or None)
    set_attribute(node, "activation_beta", betas or None)
