"""Defects of masking: which nodes heed the mask, and what stands at the steps that it hides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto

from harness.graphs.edit import Edit
from harness.graphs.recurrent import SEQUENCE_LENS
from harness.graphs.walk import input_at
from harness.mutation.defects.defect import Mutant, Specimen, copied, each, recurrent
from harness.mutation.defects.padding import (
    all_valid,
    computed,
    mask_name,
    mask_of,
    padding_test,
    states_read,
    steps_read,
)


def mask_unknown_to_one_layer(subject: Specimen) -> Iterator[Mutant]:
    """What enters one recurrent node is computed without the mask, what leaves it is read by it."""
    for name, edit, node in recurrent(subject):
        mask = mask_of(edit, subject)
        if mask and edit.depends(node.input[0], mask):
            edit.fork(mask, all_valid(edit, mask), node, 0)
            yield Mutant(name, edit.done())


def mask_known_to_one_layer_alone(subject: Specimen) -> Iterator[Mutant]:
    """What enters one recurrent node is computed with the mask, all else without it."""
    for name, edit, node in recurrent(subject):
        mask, equal = mask_of(edit, subject), padding_test(edit, subject)
        if mask and equal is not None and edit.depends(node.input[0], mask):
            mask_kept = edit.node("Not", [equal.output[0]])
            edit.rewrite(mask, partial(all_valid, edit))
            edit.fork(mask, mask_kept, node, 0)
            if any(edit.depends(output.name, mask) for output in edit.graph.output):
                yield Mutant(name, edit.done())


def mask_unknown_to_one_direction(subject: Specimen) -> Iterator[Mutant]:
    """One of the sequences that are joined side by side is computed without the mask."""
    for name, edit, node in each(subject, lambda e: [n for n in e.nodes if n.op_type == "Concat"]):
        mask, steps = mask_of(edit, subject), computed(edit)
        joined = [i for i, tensor in enumerate(node.input) if tensor in steps]
        for index in joined if mask and len(joined) > 1 else []:
            edit, twin = copied(subject, node)
            if edit.depends(twin.input[index], mask):
                edit.fork(mask, all_valid(edit, mask), twin, index)
                yield Mutant(f"{name} input {index}", edit.done())


def mask_unknown_to_one_output(subject: Specimen) -> Iterator[Mutant]:
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


def steps_read_back_without_the_mask(subject: Specimen) -> Iterator[Mutant]:
    """What a recurrent node gave for the valid steps is read as if no step were padded."""
    yield from _forked(subject, steps_read)


def last_step_for_last_valid_step(subject: Specimen) -> Iterator[Mutant]:
    """The state after the last step is read instead of the one after the last valid step."""
    yield from _forked(subject, states_read)


def padded_steps_zeroed(subject: Specimen) -> Iterator[Mutant]:
    """What a recurrent layer yields at a padded step is zero, not its last valid output."""
    edit = Edit(subject.model)
    mask, read = mask_of(edit, subject), steps_read(edit, subject)
    if read and not _zeroing(edit, subject):
        for node in read:
            valid = edit.node("Unsqueeze", [mask, edit.constant([2], np.int64)])
            steps, zero = node.output[0], edit.constant(0, np.float32)
            edit.named(steps, "Where", [valid, edit.splice(steps), zero])
        yield Mutant(mask_name(subject), edit.done())


def padded_steps_repeated(subject: Specimen) -> Iterator[Mutant]:
    """What a recurrent layer yields at a padded step is its last valid output, not zero."""
    edit = Edit(subject.model)
    zeroing = _zeroing(edit, subject)
    for node, count in zeroing:
        edit.redirect(node.output[0], count)
    if zeroing:
        yield Mutant(mask_name(subject), edit.done())


def choice_by_the_mask_dropped(subject: Specimen) -> Iterator[Mutant]:
    """What is computed at a padded step, or for an empty row, is kept instead of the default."""
    edit = Edit(subject.model)
    mask, recurrent_values = mask_of(edit, subject), computed(edit)
    chosen = [n for n in edit.nodes if n.op_type == "Where" and n.input[1] in recurrent_values]
    for name, edit, node in each(subject, lambda _: chosen if mask else []):
        if edit.depends(node.input[0], mask) and node.input[0] not in recurrent_values:
            node.op_type = "Identity"
            node.input[:] = [node.input[1]]
            yield Mutant(name, edit.done())


def sequence_lens_dropped(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node runs over all steps, whatever the lengths of its rows."""
    for name, edit, node in _with_lengths(subject):
        edit.feed(node, SEQUENCE_LENS, "")
        yield Mutant(name, edit.done())


def sequence_lens_too_long(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node runs one step too far in every row that is not the longest possible."""
    for name, edit, node in _with_lengths(subject):
        steps = edit.node("Cast", [edit.size(node.input[0], 0)], to=TensorProto.INT32)
        longer = edit.node("Add", [node.input[SEQUENCE_LENS], edit.constant(1, np.int32)])
        edit.feed(node, SEQUENCE_LENS, edit.node("Min", [longer, steps]))
        yield Mutant(name, edit.done())


def sequence_lens_too_short(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node stops one step too early in every row of more than one."""
    for name, edit, node in _with_lengths(subject):
        one = edit.constant(1, np.int32)
        shorter = edit.node("Sub", [node.input[SEQUENCE_LENS], one])
        edit.feed(node, SEQUENCE_LENS, edit.node("Max", [shorter, one]))
        yield Mutant(name, edit.done())


def sequence_lens_of_the_first_row(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node takes the length of a batch's first row for all its rows."""
    for name, edit, node in _with_lengths(subject):
        lengths = node.input[SEQUENCE_LENS]
        shape = edit.node("Shape", [lengths])
        edit.feed(node, SEQUENCE_LENS, edit.node("Expand", [edit.part(lengths, 0, 1, 0), shape]))
        yield Mutant(name, edit.done())


def _forked(subject: Specimen, reading: Callable[[Edit, Specimen], list[Any]]) -> Iterator[Mutant]:
    """Compute the indices of every ``reading`` node without the mask, one at a time."""
    for name, edit, node in each(subject, lambda edit: reading(edit, subject)):
        mask = mask_of(edit, subject)
        edit.fork(mask, all_valid(edit, mask), node, 1)
        yield Mutant(name, edit.done())


def _zeroing(edit: Edit, subject: Specimen) -> list[tuple[Any, str]]:
    """Return the nodes that set the count of valid steps, by which steps are read, to 0 at padding.

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


def _with_lengths(subject: Specimen) -> Iterator[tuple[str, Edit, Any]]:
    """Yield every recurrent node with ``sequence_lens``: its place, a copy, the node in that."""
    return (entry for entry in recurrent(subject) if input_at(entry[2], SEQUENCE_LENS))
