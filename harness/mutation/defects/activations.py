"""Defects of the layers between the recurrent ones: activations, dense layers, dropout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.graphs.edit import RECURRENT, Edit, attribute, set_attribute
from harness.mutation.defects.defect import Defect, Mutant, Subject, place

HARD_SIGMOIDS = {"0.2": 0.2, "1/6": 1 / 6}
"""The slope that ONNX and Keras 2 give a hard sigmoid, and that of Keras 3 and PyTorch."""
TEMPERATURE = 1.001
DROPPED = 0.1


def sigmoid_as_hard_sigmoid(subject: Subject) -> Iterator[Mutant]:
    """A sigmoid is replaced by a hard sigmoid of slope 0.2 or 1/6."""
    for number, node in _nodes(subject, "Sigmoid"):
        for slope, alpha in HARD_SIGMOIDS.items():
            edit, twin = _twin(subject, node)
            twin.op_type = "HardSigmoid"
            set_attribute(twin, "alpha", alpha)
            set_attribute(twin, "beta", 0.5)
            yield Mutant(f"{place(number, node)} {slope}", edit.done())


def sigmoid_from_rational_tanh(subject: Subject) -> Iterator[Mutant]:
    """A sigmoid is computed from a rational approximation of tanh."""
    for number, node in _nodes(subject, "Sigmoid"):
        edit, twin = _twin(subject, node)
        half = edit.constant(0.5, np.float32)
        bent = _rational_tanh(edit, edit.node("Mul", [twin.input[0], half]))
        _become(twin, "Add", edit.node("Mul", [bent, half]), half)
        yield Mutant(place(number, node), edit.done())


def sigmoid_as_softmax(subject: Subject) -> Iterator[Mutant]:
    """A sigmoid over independent classes is replaced by a softmax."""
    for number, node in _nodes(subject, "Sigmoid"):
        edit, twin = _twin(subject, node)
        twin.op_type = "Softmax"
        set_attribute(twin, "axis", -1)
        yield Mutant(place(number, node), edit.done())


def tanh_as_rational(subject: Subject) -> Iterator[Mutant]:
    """A tanh is replaced by the rational function x (27 + x²) / (27 + 9 x²), cut at ±3."""
    for number, node in _nodes(subject, "Tanh"):
        edit, twin = _twin(subject, node)
        _become(twin, "Identity", _rational_tanh(edit, twin.input[0]))
        yield Mutant(place(number, node), edit.done())


def tanh_as_softsign(subject: Subject) -> Iterator[Mutant]:
    """A tanh is replaced by a softsign."""
    for number, node in _nodes(subject, "Tanh"):
        edit, twin = _twin(subject, node)
        twin.op_type = "Softsign"
        yield Mutant(place(number, node), edit.done())


def gelu_by_tanh(subject: Subject) -> Iterator[Mutant]:
    """A Gelu by the error function is replaced by its approximation by tanh."""
    for number, node in _nodes(subject, "Gelu"):
        if attribute(node, "approximate", "none") == "none":
            edit, twin = _twin(subject, node)
            set_attribute(twin, "approximate", "tanh")
            yield Mutant(place(number, node), edit.done())


def softmax_over_another_axis(subject: Subject) -> Iterator[Mutant]:
    """A softmax runs over the batch or the time instead of the features."""
    for number, node in _nodes(subject, "Softmax"):
        rank = _rank(subject, node.output[0])
        for axis in range(rank - 1):
            edit, twin = _twin(subject, node)
            set_attribute(twin, "axis", axis)
            yield Mutant(f"{place(number, node)} axis {axis}", edit.done())


def softmax_as_log_softmax(subject: Subject) -> Iterator[Mutant]:
    """A softmax is replaced by its logarithm."""
    for number, node in _nodes(subject, "Softmax"):
        edit, twin = _twin(subject, node)
        twin.op_type = "LogSoftmax"
        yield Mutant(place(number, node), edit.done())


def softmax_as_sigmoid(subject: Subject) -> Iterator[Mutant]:
    """A softmax is replaced by independent sigmoids."""
    for number, node in _nodes(subject, "Softmax"):
        edit, twin = _twin(subject, node)
        _become(twin, "Sigmoid", twin.input[0])
        yield Mutant(place(number, node), edit.done())


def softmax_with_temperature(subject: Subject) -> Iterator[Mutant]:
    """The logits of a softmax are divided by 1.001."""
    for number, node in _nodes(subject, "Softmax"):
        edit, twin = _twin(subject, node)
        temperature = edit.constant(TEMPERATURE, np.float32)
        edit.feed(twin, 0, edit.node("Div", [twin.input[0], temperature]))
        yield Mutant(place(number, node), edit.done())


def activation_dropped(subject: Subject) -> Iterator[Mutant]:
    """A softmax, sigmoid or tanh is left out, so that its argument is returned."""
    for number, node in _nodes(subject, "Softmax", "Sigmoid", "Tanh"):
        edit, twin = _twin(subject, node)
        _become(twin, "Identity", twin.input[0])
        yield Mutant(place(number, node), edit.done())


def dropout_left_on(subject: Subject) -> Iterator[Mutant]:
    """A tenth of a layer's inputs are dropped at random, as in training."""
    # Not by a Dropout node in training mode: ONNX Runtime removes it where a node is before it.
    for number, node in _layers(subject):
        edit, twin = _twin(subject, node)
        dropped, zero = edit.constant(DROPPED, np.float32), edit.constant(0, np.float32)
        drawn = edit.node("RandomUniformLike", [twin.input[0]], dtype=1, seed=1.0)
        raised = edit.node("Div", [twin.input[0], edit.constant(1 - DROPPED, np.float32)])
        out = edit.node("Less", [drawn, dropped])
        edit.feed(twin, 0, edit.node("Where", [out, zero, raised]))
        yield Mutant(f"before {place(number, node)}", edit.done())


def normalization_epsilon_changed(subject: Subject) -> Iterator[Mutant]:
    """The epsilon of a normalization is a hundred times larger."""
    for number, node in _nodes(subject, "LayerNormalization", "BatchNormalization"):
        edit, twin = _twin(subject, node)
        set_attribute(twin, "epsilon", 100 * attribute(node, "epsilon", 1e-5))
        yield Mutant(place(number, node), edit.done())


def dense_bias_dropped(subject: Subject) -> Iterator[Mutant]:
    """The bias of a dense layer is left out."""
    for number, node in _dense(subject):
        edit, twin = _twin(subject, node)
        if twin.op_type == "Gemm" and len(twin.input) > 2 and twin.input[2]:
            del twin.input[2:]
            yield Mutant(place(number, node), edit.done())
        for adding in edit.consumers(twin.output[0]):
            if adding.op_type == "Add" and 1 in map(edit.rank, adding.input):
                _become(adding, "Identity", twin.output[0])
                yield Mutant(place(number, node), edit.done())


def dense_weight_in_other_order(subject: Subject) -> Iterator[Mutant]:
    """A dense layer's weight keeps its shape, its numbers come in the order of its transpose."""
    for number, node in _dense(subject):
        edit, twin = _twin(subject, node)
        weight = edit.value(twin.input[1])
        if weight is not None and min(weight.shape) > 1:
            edit.feed(twin, 1, edit.constant(weight.T.reshape(weight.shape)))
            yield Mutant(place(number, node), edit.done())


def _nodes(subject: Subject, *kinds: str) -> Iterator[tuple[int, Any]]:
    """The nodes of some kinds, numbered among themselves."""
    return enumerate(n for n in subject.model.graph.node if n.op_type in kinds)


def _dense(subject: Subject) -> Iterator[tuple[int, Any]]:
    return enumerate(Edit(subject.model).dense())


def _layers(subject: Subject) -> Iterator[tuple[int, Any]]:
    """The dense and the recurrent nodes."""
    edit = Edit(subject.model)
    layers = [n.output[0] or n.output[1] for n in edit.dense() + edit.recurrent()]
    kinds = (*RECURRENT, "MatMul", "Gemm")
    return ((i, n) for i, n in _nodes(subject, *kinds) if {*layers} & {*n.output})


def _twin(subject: Subject, node: Any) -> tuple[Edit, Any]:
    """A working copy of the model and, in it, the copy of ``node``."""
    edit = Edit(subject.model)
    return edit, next(n for n in edit.nodes if list(n.output) == list(node.output))


def _become(node: Any, op: str, *inputs: str) -> None:
    """Make another operation without attributes of ``node``, which keeps its outputs."""
    node.op_type = op
    node.input[:] = inputs
    del node.attribute[:]


def _rational_tanh(edit: Edit, tensor: str) -> str:
    """The Padé approximant of tanh of order 3 over 2, which reaches ±1 at ±3."""
    low, high = edit.constant(-3.0, np.float32), edit.constant(3.0, np.float32)
    nine, offset = edit.constant(9.0, np.float32), edit.constant(27.0, np.float32)
    cut = edit.node("Clip", [tensor, low, high])
    square = edit.node("Mul", [cut, cut])
    upper = edit.node("Mul", [cut, edit.node("Add", [square, offset])])
    lower = edit.node("Add", [edit.node("Mul", [square, nine]), offset])
    return edit.node("Div", [upper, lower])


def _rank(subject: Subject, tensor: str) -> int:
    """How many axes an output of the model has; 0 for another tensor."""
    return next((len(t.axes) for t in subject.spec.outputs if t.name == tensor), 0)


DEFECTS: tuple[Defect, ...] = (
    sigmoid_as_hard_sigmoid,
    sigmoid_from_rational_tanh,
    sigmoid_as_softmax,
    tanh_as_rational,
    tanh_as_softsign,
    gelu_by_tanh,
    softmax_over_another_axis,
    softmax_as_log_softmax,
    softmax_as_sigmoid,
    softmax_with_temperature,
    activation_dropped,
    dropout_left_on,
    normalization_epsilon_changed,
    dense_bias_dropped,
    dense_weight_in_other_order,
)
