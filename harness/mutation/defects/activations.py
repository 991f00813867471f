"""Defects of the layers between the recurrent ones: activations, dense layers, dropout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.graphs.attributes import attribute, set_attribute
from harness.graphs.edit import Edit
from harness.graphs.recurrent import RECURRENT
from harness.mutation.defects.defect import Mutant, Specimen, copied, each

HARD_SIGMOIDS = {"0.2": 0.2, "1/6": 1 / 6}
"""The slope that ONNX and Keras 2 give a hard sigmoid, and that of Keras 3 and PyTorch."""
TEMPERATURE = 1.001
DROPPED = 0.1


def sigmoid_as_hard_sigmoid(subject: Specimen) -> Iterator[Mutant]:
    """A sigmoid is replaced by a hard sigmoid of slope 0.2 or 1/6."""
    for name, _, node in _nodes(subject, "Sigmoid"):
        for slope, alpha in HARD_SIGMOIDS.items():
            edit, twin = copied(subject, node)
            twin.op_type = "HardSigmoid"
            set_attribute(twin, "alpha", alpha)
            set_attribute(twin, "beta", 0.5)
            yield Mutant(f"{name} {slope}", edit.done())


def sigmoid_from_rational_tanh(subject: Specimen) -> Iterator[Mutant]:
    """A sigmoid is computed from a rational approximation of tanh."""
    for name, edit, node in _nodes(subject, "Sigmoid"):
        half = edit.constant(0.5, np.float32)
        bent = _rational_tanh(edit, edit.node("Mul", [node.input[0], half]))
        _become(node, "Add", edit.node("Mul", [bent, half]), half)
        yield Mutant(name, edit.done())


def sigmoid_as_softmax(subject: Specimen) -> Iterator[Mutant]:
    """A sigmoid over independent classes is replaced by a softmax."""
    for name, edit, node in _nodes(subject, "Sigmoid"):
        node.op_type = "Softmax"
        set_attribute(node, "axis", -1)
        yield Mutant(name, edit.done())


def tanh_as_rational(subject: Specimen) -> Iterator[Mutant]:
    """A tanh is replaced by the rational function x (27 + x²) / (27 + 9 x²), cut at ±3."""
    for name, edit, node in _nodes(subject, "Tanh"):
        _become(node, "Identity", _rational_tanh(edit, node.input[0]))
        yield Mutant(name, edit.done())


def tanh_as_softsign(subject: Specimen) -> Iterator[Mutant]:
    """A tanh is replaced by a softsign."""
    return _replaced(subject, "Softsign", "Tanh")


def gelu_by_tanh(subject: Specimen) -> Iterator[Mutant]:
    """A Gelu by the error function is replaced by its approximation by tanh."""
    for name, edit, node in _nodes(subject, "Gelu"):
        if attribute(node, "approximate", "none") == "none":
            set_attribute(node, "approximate", "tanh")
            yield Mutant(name, edit.done())


def softmax_over_another_axis(subject: Specimen) -> Iterator[Mutant]:
    """A softmax runs over the batch or the time instead of the features."""
    for name, _, node in _nodes(subject, "Softmax"):
        rank = _rank(subject, node.output[0])
        for axis in range(rank - 1):
            edit, twin = copied(subject, node)
            set_attribute(twin, "axis", axis)
            yield Mutant(f"{name} axis {axis}", edit.done())


def softmax_as_log_softmax(subject: Specimen) -> Iterator[Mutant]:
    """A softmax is replaced by its logarithm."""
    for name, edit, node in _nodes(subject, "Softmax"):
        node.op_type = "LogSoftmax"
        yield Mutant(name, edit.done())


def softmax_as_sigmoid(subject: Specimen) -> Iterator[Mutant]:
    """A softmax is replaced by independent sigmoids."""
    return _replaced(subject, "Sigmoid", "Softmax")


def softmax_with_temperature(subject: Specimen) -> Iterator[Mutant]:
    """The logits of a softmax are divided by 1.001."""
    for name, edit, node in _nodes(subject, "Softmax"):
        temperature = edit.constant(TEMPERATURE, np.float32)
        edit.feed(node, 0, edit.node("Div", [node.input[0], temperature]))
        yield Mutant(name, edit.done())


def activation_dropped(subject: Specimen) -> Iterator[Mutant]:
    """A softmax, sigmoid or tanh is left out, so that its argument is returned."""
    return _replaced(subject, "Identity", "Softmax", "Sigmoid", "Tanh")


def dropout_left_on(subject: Specimen) -> Iterator[Mutant]:
    """A tenth of a layer's inputs are dropped at random, as in training."""
    # ONNX Runtime removes a Dropout node, also in training mode, where a node is before it: so the
    # values are dropped by a Where.
    for name, edit, node in _layers(subject):
        dropped, zero = edit.constant(DROPPED, np.float32), edit.constant(0, np.float32)
        drawn = edit.node("RandomUniformLike", [node.input[0]], dtype=1, seed=1.0)
        raised = edit.node("Div", [node.input[0], edit.constant(1 - DROPPED, np.float32)])
        out = edit.node("Less", [drawn, dropped])
        edit.feed(node, 0, edit.node("Where", [out, zero, raised]))
        yield Mutant(f"before {name}", edit.done())


def normalization_epsilon_changed(subject: Specimen) -> Iterator[Mutant]:
    """The epsilon of a normalization is a hundred times larger."""
    for name, edit, node in _nodes(subject, "LayerNormalization", "BatchNormalization"):
        set_attribute(node, "epsilon", 100 * attribute(node, "epsilon", 1e-5))
        yield Mutant(name, edit.done())


def dense_bias_dropped(subject: Specimen) -> Iterator[Mutant]:
    """The bias of a dense layer is left out."""
    for name, edit, node in each(subject, Edit.dense):
        if node.op_type == "Gemm" and len(node.input) > 2 and node.input[2]:
            del node.input[2:]
            yield Mutant(name, edit.done())
        for adding in edit.consumers(node.output[0]):
            if adding.op_type == "Add" and 1 in map(edit.rank, adding.input):
                _become(adding, "Identity", node.output[0])
                yield Mutant(name, edit.done())


def dense_weight_in_other_order(subject: Specimen) -> Iterator[Mutant]:
    """A dense layer's weight keeps its shape, its numbers come in the order of its transpose."""
    for name, edit, node in each(subject, Edit.dense):
        weight = edit.value(node.input[1])
        if weight is not None and min(weight.shape) > 1:
            edit.feed(node, 1, edit.constant(weight.T.reshape(weight.shape)))
            yield Mutant(name, edit.done())


def _nodes(subject: Specimen, *kinds: str) -> Iterator[tuple[str, Edit, Any]]:
    """Yield the nodes of some kinds, numbered among themselves."""
    return each(subject, lambda edit: [n for n in edit.nodes if n.op_type in kinds])


def _replaced(subject: Specimen, op: str, *kinds: str) -> Iterator[Mutant]:
    """Replace each node of some kinds by another operation of its first input."""
    for name, edit, node in _nodes(subject, *kinds):
        _become(node, op, node.input[0])
        yield Mutant(name, edit.done())


def _layers(subject: Specimen) -> Iterator[tuple[str, Edit, Any]]:
    """Yield the dense and the recurrent nodes, numbered with all other products."""
    edit = Edit(subject.model)
    layers = {name for node in edit.dense() + edit.recurrent() for name in node.output if name}
    every = _nodes(subject, *RECURRENT, "MatMul", "Gemm")
    return (entry for entry in every if layers & {*entry[2].output})


def _become(node: Any, op: str, *inputs: str) -> None:
    """Make ``node``, which keeps its outputs, another operation without attributes."""
    node.op_type = op
    node.input[:] = inputs
    del node.attribute[:]


def _rational_tanh(edit: Edit, tensor: str) -> str:
    """Add the Padé approximant of tanh of order 3 over 2, which reaches ±1 at ±3."""
    low, high = edit.constant(-3.0, np.float32), edit.constant(3.0, np.float32)
    nine, offset = edit.constant(9.0, np.float32), edit.constant(27.0, np.float32)
    cut = edit.node("Clip", [tensor, low, high])
    square = edit.node("Mul", [cut, cut])
    upper = edit.node("Mul", [cut, edit.node("Add", [square, offset])])
    lower = edit.node("Add", [edit.node("Mul", [square, nine]), offset])
    return edit.node("Div", [upper, lower])


def _rank(subject: Specimen, tensor: str) -> int:
    """Return the number of axes of a model's output; 0 for another tensor."""
    return next((len(t.axes) for t in subject.spec.outputs if t.name == tensor), 0)
