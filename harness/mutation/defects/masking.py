"""Defects of masking: which nodes heed the mask, and what stands at the steps that it hides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto

from harness.graphs.edit import Edit
from harness.mutation.defects.defect import Defect, Mutant, Subject, place
from harness.mutation.defects.padding import (
    all_valid,
    computed,
    mask_name,
    mask_of,
    padding_test,
    states_read,
    steps_read,
)

LENGTHS = 4
"""Where a recurrent node takes its ``sequence_lens``, int32 [batch]."""


def mask_unknown_to_one_layer(subject: Subject) -> Iterator[Mutant]:
    """What enters one recurrent node is computed without the mask, what leaves it is read by it."""
    for number, node in enumerate(Edit(subject.model).recurrent()):
        edit = Edit(subject.model)
        mask = mask_of(edit, subject)
        if mask and edit.depends(node.input[0], mask):
            edit.fork(mask, all_valid(edit, mask), edit.recurrent()[number], 0)
            yield Mutant(place(number, node), edit.done())


def mask_known_to_one_layer_alone(subject: Subject) -> Iterator[Mutant]:
    """What enters one recurrent node is computed with the mask, all else without it."""
    for number, node in enumerate(Edit(subject.model).recurrent()):
        edit = Edit(subject.model)
        mask, equal = mask_of(edit, subject), padding_test(edit, subject)
        if mask and equal is not None and edit.depends(node.input[0], mask):
            known = edit.node("Not", [equal.output[0]])
            edit.rewrite(mask, partial(all_valid, edit))
            edit.fork(mask, known, edit.recurrent()[number], 0)
            if any(edit.depends(output.name, mask) for output in edit.graph.output):
                yield Mutant(place(number, node), edit.done())


def mask_unknown_to_one_direction(subject: Subject) -> Iterator[Mutant]:
    """One of the sequences that are joined side by side is computed without the mask."""
    for number, node in enumerate(n for n in Edit(subject.model).nodes if n.op_type == "Concat"):
        edit = Edit(subject.model)
        mask, steps = mask_of(edit, subject), computed(edit)
        joined = [i for i, name in enumerate(node.input) if name in steps]
        for index in joined if mask and len(joined) > 1 else []:
            edit = Edit(subject.model)
            twin = next(n for n in edit.nodes if n.output == node.output)
            if edit.depends(twin.input[index], mask):
                edit.fork(mask, all_valid(edit, mask), twin, index)
                yield Mutant(f"{place(number, node)} input {index}", edit.done())


def mask_unknown_to_one_output(subject: Subject) -> Iterator[Mutant]:
    """One of several outputs is computed without the mask."""
    for output in subject.spec.outputs if len(subject.spec.outputs) > 1 else ():
        edit = Edit(subject.model)
        mask = mask_of(edit, subject)
        if mask and edit.depends(output.name, mask):
            node = edit.node("Identity", [output.name])
            twin = edit.producer(node)
            edit.fork(mask, all_valid(edit, mask), twin, 0)
            edit.publish(output.name, node)
            yield Mutant(output.name, edit.done())


def steps_read_back_without_the_mask(subject: Subject) -> Iterator[Mutant]:
    """What a recurrent node gave for the valid steps is read as if no step were padded."""
    yield from _forked(subject, steps_read)


def last_step_for_last_valid_step(subject: Subject) -> Iterator[Mutant]:
    """The state after the last step is read instead of the one after the last valid step."""
    yield from _forked(subject, states_read)


def padded_steps_zeroed(subject: Subject) -> Iterator[Mutant]:
    """What a recurrent layer yields at a padded step is zero, not its last valid output."""
    edit = Edit(subject.model)
    mask, read = mask_of(edit, subject), steps_read(edit, subject)
    if read and not _zeroing(edit, subject):
        for node in read:
            valid = edit.node("Unsqueeze", [mask, edit.constant([2], np.int64)])
            edit.after(node.output[0], "Where", valid, edit.constant(0, np.float32), at=1)
        yield Mutant(mask_name(subject), edit.done())


def padded_steps_repeated(subject: Subject) -> Iterator[Mutant]:
    """What a recurrent layer yields at a padded step is its last valid output, not zero."""
    edit = Edit(subject.model)
    zeroing = _zeroing(edit, subject)
    for node, count in zeroing:
        edit.redirect(node.output[0], count)
    if zeroing:
        yield Mutant(mask_name(subject), edit.done())


def choice_by_the_mask_dropped(subject: Subject) -> Iterator[Mutant]:
    """What is computed at a padded step, or for an empty row, is kept instead of the default."""
    edit = Edit(subject.model)
    mask, made = mask_of(edit, subject), computed(edit)
    chosen = [n for n in edit.nodes if n.op_type == "Where" and n.input[1] in made]
    for number, node in enumerate(chosen if mask else []):
        edit = Edit(subject.model)
        if edit.depends(node.input[0], mask) and node.input[0] not in made:
            twin = next(n for n in edit.nodes if n.output == node.output)
            twin.op_type = "Identity"
            twin.input[:] = [node.input[1]]
            yield Mutant(place(number, node), edit.done())


def sequence_lens_dropped(subject: Subject) -> Iterator[Mutant]:
    """A recurrent node runs over all steps, whatever the lengths of its rows."""
    for name, edit, node in _with_lengths(subject):
        edit.feed(node, LENGTHS, "")
        yield Mutant(name, edit.done())


def sequence_lens_too_long(subject: Subject) -> Iterator[Mutant]:
    """A recurrent node runs one step too far in every row that is not the longest possible."""
    for name, edit, node in _with_lengths(subject):
        steps = edit.node("Cast", [edit.size(node.input[0], 0)], to=TensorProto.INT32)
        longer = edit.node("Add", [node.input[LENGTHS], edit.constant(1, np.int32)])
        edit.feed(node, LENGTHS, edit.node("Min", [longer, steps]))
        yield Mutant(name, edit.done())


def sequence_lens_too_short(subject: Subject) -> Iterator[Mutant]:
    """A recurrent node stops one step too early in every row of more than one."""
    for name, edit, node in _with_lengths(subject):
        one = edit.constant(1, np.int32)
        shorter = edit.node("Sub", [node.input[LENGTHS], one])
        edit.feed(node, LENGTHS, edit.node("Max", [shorter, one]))
        yield Mutant(name, edit.done())


def sequence_lens_of_the_first_row(subject: Subject) -> Iterator[Mutant]:
    """A recurrent node takes the length of a batch's first row for all its rows."""
    for name, edit, node in _with_lengths(subject):
        lengths = node.input[LENGTHS]
        shape = edit.node("Shape", [lengths])
        edit.feed(node, LENGTHS, edit.node("Expand", [edit.part(lengths, 0, 1, 0), shape]))
        yield Mutant(name, edit.done())


def _forked(subject: Subject, reading: Callable[[Edit, Subject], list[Any]]) -> Iterator[Mutant]:
    """Compute the indices of every node of a kind without the mask, one at a time."""
    for number, node in enumerate(reading(Edit(subject.model), subject)):
        edit = Edit(subject.model)
        mask = mask_of(edit, subject)
        edit.fork(mask, all_valid(edit, mask), reading(edit, subject)[number], 1)
        yield Mutant(place(number, node), edit.done())


def _zeroing(edit: Edit, subject: Subject) -> list[tuple[Any, str]]:
    """The nodes that make the count of valid steps, by which steps are read, zero at a padded one.

    Each comes with that count. The step that the count 0 reads is zero.
    """
    mask, read = mask_of(edit, subject), steps_read(edit, subject)
    counts = [node.output[0] for node in edit.nodes if node.op_type == "CumSum"]
    return [
        (node, name)
        for node in edit.nodes
        if node.op_type in ("Mul", "Where")
        and any(edit.depends(reading.input[1], node.output[0]) for reading in read)
        and sum(edit.depends(each, mask) for each in node.input) > 1
        for name in node.input
        if name in counts
    ]


def _with_lengths(subject: Subject) -> Iterator[tuple[str, Edit, Any]]:
    """For every recurrent node with ``sequence_lens``: its place, a copy, and the node in it."""
    for number, node in enumerate(Edit(subject.model).recurrent()):
        if len(node.input) > LENGTHS and node.input[LENGTHS]:
            edit = Edit(subject.model)
            yield place(number, node), edit, edit.recurrent()[number]


DEFECTS: tuple[Defect, ...] = (
    mask_unknown_to_one_layer,
    mask_known_to_one_layer_alone,
    mask_unknown_to_one_direction,
    mask_unknown_to_one_output,
    steps_read_back_without_the_mask,
    last_step_for_last_valid_step,
    padded_steps_zeroed,
    padded_steps_repeated,
    choice_by_the_mask_dropped,
    sequence_lens_dropped,
    sequence_lens_too_long,
    sequence_lens_too_short,
    sequence_lens_of_the_first_row,
)
