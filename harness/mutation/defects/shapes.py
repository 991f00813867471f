"""Defects of shapes: an example's length or batch size that stays in the graph, axes confused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from harness.core.schema import Array, Arrays
from harness.graphs.attributes import attribute
from harness.graphs.edit import Edit
from harness.graphs.extract import fed, part
from harness.graphs.view import Net
from harness.graphs.walk import input_at
from harness.mutation.defects.defect import (
    Mutant,
    Specimen,
    copied,
    each,
    place,
    recurrent,
)

LENGTH, BATCH = 7, 5
"""The example at which a model was exported."""
LIMITS = (16, 100)
SIZES: Mapping[str, tuple[int, ...]] = {
    "Reshape": (1,),
    "Expand": (1,),
    "ConstantOfShape": (0,),
    "Slice": (1, 2),
    "Range": (0, 1),
    "TopK": (1,),
    "Tile": (1,),
    "Pad": (1,),
}
"""The inputs of a node that hold sizes, or bounds, of axes."""
STEPS_FIRST = [1, 0, 2]


def length_baked(subject: Specimen) -> Iterator[Mutant]:
    """A computed size or bound along the time is the constant that it was at seven steps."""
    yield from _baked(subject, LENGTH + 2, BATCH)


def batch_baked(subject: Specimen) -> Iterator[Mutant]:
    """A computed size or bound along the batch is the constant that it was at five rows."""
    yield from _baked(subject, LENGTH, BATCH - 1)


def length_baked_by_reshape(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node's input is reshaped to seven steps."""
    yield from _reshaped(subject, 0, LENGTH)


def batch_baked_by_reshape(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node's input is reshaped to five rows."""
    yield from _reshaped(subject, 1, BATCH)


def long_input_cut(subject: Specimen) -> Iterator[Mutant]:
    """Steps of an input beyond the 16th or the 100th are ignored."""
    timed = [(t.name, t.step_axis) for t in subject.spec.inputs]
    for (name, axis), limit in product(timed, LIMITS):
        if axis is not None:
            edit = Edit(subject.model)
            edit.rewrite(name, partial(edit.part, start=0, stop=limit, axis=axis))
            yield Mutant(f"{name} at {limit}", edit.done())


def output_cut_to_the_batch(subject: Specimen) -> Iterator[Mutant]:
    """An output has no more steps than the batch has rows."""
    for tensor in subject.spec.outputs:
        if (axis := tensor.step_axis) is not None:
            edit = Edit(subject.model)
            rows = edit.node("Unsqueeze", [edit.size(tensor.name, 0), _vector(edit, 0)])
            edit.publish(tensor.name, edit.part(tensor.name, 0, rows, axis))
            yield Mutant(tensor.name, edit.done())


def time_and_batch_transposed_when_equal(subject: Specimen) -> Iterator[Mutant]:
    """Time and batch of a recurrent node's input are transposed wherever they are equal."""
    for name, edit, node in recurrent(subject):
        steps = node.input[0]
        sizes = edit.node("Shape", [steps])
        flat = edit.node("Flatten", [steps], axis=2)
        order = edit.positions(flat, 0)
        grid = edit.node("Reshape", [order, edit.part(sizes, 0, 2, 0)])
        turned = edit.node(
            "Reshape", [edit.node("Transpose", [grid], perm=[1, 0]), _vector(edit, -1)]
        )
        equal = edit.node("Equal", [edit.size(steps, 0), edit.size(steps, 1)])
        chosen = edit.node("Where", [equal, turned, order])
        picked = edit.node("Gather", [flat, chosen], axis=0)
        edit.feed(node, 0, edit.node("Reshape", [picked, sizes]))
        yield Mutant(name, edit.done())


def transpose_omitted(subject: Specimen) -> Iterator[Mutant]:
    """One exchange of time and batch is left out."""
    for name, edit, node in each(subject, _transposes):
        _leave_out(node)
        yield Mutant(name, edit.done())


def time_and_batch_confused(subject: Specimen) -> Iterator[Mutant]:
    """Every exchange of time and batch is left out, so that layers run over the batch."""
    edit = Edit(subject.model)
    nodes = _transposes(edit)
    for node in nodes:
        _leave_out(node)
    if len(nodes) > 1:
        yield Mutant(f"{len(nodes)} Transpose", edit.done())


def _vector(edit: Edit, value: int) -> str:
    return edit.constant([value], np.int64)


def _transposes(edit: Edit) -> list[Any]:
    nodes = [node for node in edit.nodes if node.op_type == "Transpose"]
    return [node for node in nodes if attribute(node, "perm") == STEPS_FIRST]


def _leave_out(node: Any) -> None:
    node.op_type = "Identity"
    del node.attribute[:]


def _reshaped(subject: Specimen, axis: int, size: int) -> Iterator[Mutant]:
    """Reshape what enters each recurrent node to ``size`` along an axis that can change."""
    other_size = (LENGTH + 2, BATCH) if axis == 0 else (LENGTH, BATCH - 1)
    for name, edit, node in recurrent(subject):
        sizes = edit.node("Shape", [node.input[0]])
        fixed = _fixed(replace(subject, model=edit.model), sizes, *other_size)
        if fixed is not None and fixed[0][axis]:
            leading = [_vector(edit, size), _vector(edit, -1)][:: 1 if axis == 0 else -1]
            shape = edit.node("Concat", [*leading, edit.part(sizes, 2, 3, 0)], axis=0)
            edit.feed(node, 0, edit.node("Reshape", [node.input[0], shape]))
            yield Mutant(name, edit.done())


def _baked(subject: Specimen, length: int, batch: int) -> Iterator[Mutant]:
    """Fix what differs between the example and another size, wherever a size is computed."""
    number = 0
    for node in Edit(subject.model).nodes:
        for index in SIZES.get(node.op_type, ()):
            tensor = input_at(node, index)
            fixed_parts = _fixed(subject, tensor, length, batch)
            if fixed_parts is not None and fixed_parts[0].any():
                edit, twin = copied(subject, node)
                fixed = [edit.constant(part) for part in fixed_parts]
                edit.feed(twin, index, edit.node("Where", [*fixed, tensor]))
                yield Mutant(f"{place(number, node)} input {index}", edit.done())
                number += 1


def _fixed(subject: Specimen, tensor: str, length: int, batch: int) -> tuple[Array, Array] | None:
    """Return where ``tensor`` differs between the example and another size, and its example.

    None where it is no result of the inputs.
    """
    example = _evaluated(subject, tensor, LENGTH, BATCH)
    other = _evaluated(subject, tensor, length, batch)
    if example is None or other is None:
        return None
    return np.asarray(example != other), example


def _evaluated(subject: Specimen, tensor: str, length: int, batch: int) -> Array | None:
    """Return ``tensor`` at a length and a batch; None where it is no result of the inputs."""
    from onnx.reference import ReferenceEvaluator

    edit = Edit(subject.model)
    inputs = _example(subject, length, batch)
    if tensor in inputs or tensor not in edit.downstream(inputs):
        return None
    net = Net(edit.done())
    cut = part(net, net.ancestors([tensor]), [tensor], inputs)
    (value,) = ReferenceEvaluator(cut).run(None, fed(cut, inputs))
    return np.asarray(value)


def _example(subject: Specimen, length: int, batch: int) -> Arrays:
    """Return inputs of ones, and of the length where an input is a length."""
    lengths = dict.fromkeys(subject.spec.axes, length)
    return {
        t.name: np.full(
            t.shape(batch, lengths), length if t.name in subject.spec.lengths else 1
        ).astype(t.dtype)
        for t in subject.spec.inputs
    }
