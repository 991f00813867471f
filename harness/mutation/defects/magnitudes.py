"""Defects in what is small beside the rest: weights, channels, early steps, values beside fills."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from harness.core.schema import Array, TensorSpec
from harness.graphs.edit import Edit
from harness.mutation.defects.defect import Mutant, Specimen, outputs, place

PART = 0.01
TENTH = 0.1
FAR_BELOW = 1e-3
FILL = 1e6
FEATURES = 8
_PRODUCTS = ("MatMul", "Gemm", "Conv")
_BOUNDED = ("Clip", "Max", "Min")


def weights_off_by_a_tenth(subject: Specimen) -> Iterator[Mutant]:
    """All weights of a tensor are a tenth too large or too small."""
    for weight, values in _weights(subject):
        for sign in (1, -1):
            changed = (values * np.float32(1 + sign * TENTH)).astype(np.float32)
            yield _put(subject, weight, changed, f"{weight} {sign * TENTH:+g}")


def smallest_bias_off(subject: Specimen) -> Iterator[Mutant]:
    """The smallest value of a bias that is not 0 is a tenth too large."""
    for weight, values in _weights(subject):
        if values.ndim == 1 and len(values) > 1:
            changed = values.copy()
            where = np.argmin(np.where(values == 0, np.inf, np.abs(values)))
            changed[where] *= np.float32(1 + TENTH)
            yield _put(subject, weight, changed, weight)


def last_layer_zeroed(subject: Specimen) -> Iterator[Mutant]:
    """The weights of the last dense layer or convolution are zero."""
    edit = Edit(subject.model)
    weights = {*edit.weights()}
    products = [n for n in edit.nodes if n.op_type in _PRODUCTS and n.input[1] in weights]
    for node in products[-1:]:
        values = edit.value(node.input[1])
        assert values is not None
        number = [n for n in edit.nodes if n.op_type == node.op_type].index(node)
        yield _put(subject, node.input[1], np.zeros_like(values), place(number, node))


def bounds_altered(subject: Specimen) -> Iterator[Mutant]:
    """A constant bound of a Clip, Max or Min is off by a hundredth of itself, or a zero by that."""
    for number, node in enumerate(n for n in Edit(subject.model).nodes if n.op_type in _BOUNDED):
        for index, name in enumerate(node.input):
            edit = Edit(subject.model)
            bound = edit.value(name) if name else None
            if bound is not None and bound.dtype.kind == "f" and bound.size == 1:
                twin = next(n for n in edit.nodes if n.output == node.output)
                moved = bound + np.where(bound == 0, PART, PART * np.abs(bound))
                edit.feed(twin, index, edit.constant(moved.astype(bound.dtype)))
                yield Mutant(f"{place(number, node)} input {index}", edit.done())


def fills_halved(subject: Specimen) -> Iterator[Mutant]:
    """A constant that is as large as a fill is half of itself."""
    honest = Edit(subject.model)
    for name in dict.fromkeys(name for node in honest.nodes for name in node.input):
        value = honest.value(name)
        if value is None or value.dtype.kind != "f" or value.size != 1:
            continue
        if not FILL <= abs(value.item()) < np.inf:
            continue
        edit = Edit(subject.model)
        readers = edit.consumers(name)
        edit.redirect(name, edit.constant((value / 2).astype(value.dtype)), readers)
        yield Mutant(name, edit.done())


def small_values_off(subject: Specimen) -> Iterator[Mutant]:
    """Values of an output below a thousandth of its largest are off by a hundredth."""

    def small(edit: Edit, tensor: TensorSpec, kept: str) -> str:
        magnitude = edit.node("Abs", [kept])
        far = edit.constant(FAR_BELOW, tensor.dtype)
        limit = edit.node("Mul", [edit.reduced("ReduceMax", magnitude), far])
        return edit.node("Less", [magnitude, limit])

    return _off(subject, small)


def early_steps_off(subject: Specimen) -> Iterator[Mutant]:
    """The first quarter of an output's steps is off by a hundredth."""

    def early(edit: Edit, tensor: TensorSpec, kept: str) -> str:
        axis = tensor.step_axis
        assert axis is not None
        four = edit.constant(4, np.int64)
        step = edit.node("Mul", [edit.positions(kept, axis), four])
        before = edit.node("Less", [step, edit.size(kept, axis)])
        shape = [-1 if number == axis else 1 for number in range(len(tensor.axes))]
        return edit.node("Reshape", [before, edit.constant(shape, np.int64)])

    return _off(subject, early, lambda tensor: isinstance(_step_axis(tensor), str))


def one_feature_off(subject: Specimen) -> Iterator[Mutant]:
    """One feature of an output is off by a hundredth."""
    for feature in range(FEATURES):

        def one(edit: Edit, tensor: TensorSpec, kept: str, feature: int = feature) -> str:
            index = edit.positions(kept, len(tensor.axes) - 1)
            return edit.node("Equal", [index, edit.constant(feature, np.int64)])

        def has(tensor: TensorSpec, feature: int = feature) -> bool:
            last = tensor.axes[-1] if tensor.axes else 0
            return isinstance(last, int) and feature < last

        yield from _off(subject, one, has, f" feature {feature}")


def _step_axis(tensor: TensorSpec) -> str | int | None:
    return None if tensor.step_axis is None else tensor.axes[tensor.step_axis]


def _off(
    subject: Specimen,
    where: Callable[[Edit, TensorSpec, str], str],
    has: Callable[[TensorSpec], bool] = lambda tensor: True,
    label: str = "",
) -> Iterator[Mutant]:
    """Make the values of each float output a hundredth larger where a boolean tensor holds."""
    for tensor, edit, kept in outputs(subject):
        if np.dtype(tensor.dtype).kind == "f" and has(tensor):
            larger = edit.node("Mul", [kept, edit.constant(1 + PART, tensor.dtype)])
            edit.named(tensor.name, "Where", [where(edit, tensor, kept), larger, kept])
            yield Mutant(tensor.name + label, edit.done())


def _weights(subject: Specimen) -> Iterator[tuple[str, Array]]:
    edit = Edit(subject.model)
    for weight in edit.weights():
        values = edit.value(weight)
        if values is not None and edit.consumers(weight):
            yield weight, values


def _put(subject: Specimen, weight: str, values: Array, label: str) -> Mutant:
    edit = Edit(subject.model)
    edit.put(weight, values)
    return Mutant(label, edit.done())
