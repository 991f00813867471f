"""Defects that show only for the batches and the values that production feeds.

What is wrong is large wherever it shows: every output is off by a hundredth of its largest value,
an integer by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from onnx import TensorProto

from harness.core.schema import BATCH, ModelSpec, Raggedness, TensorSpec
from harness.graphs.edit import END, Edit
from harness.mutation.defects.defect import Mutant, Specimen

ERROR = 0.01
LARGE = 16
"""The largest batch of the cases that sweep lengths; those like production's have more rows."""
POWERS = (4, 8, 16, 32, 64)


def wrong_for_batches_above_16(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where the batch is larger than 16."""
    return _of_batches(subject, lambda edit, batch: _compared(edit, "Greater", batch, LARGE))


def wrong_for_batches_of_a_power_of_two(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where the batch is 4, 8, 16, 32 or 64."""
    return _of_batches(
        subject, lambda edit, batch: _any(edit, _compared(edit, "Equal", batch, POWERS))
    )


def wrong_where_the_first_row_is_shorter(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where a batch's first row is shorter than a later one."""

    def shorter(edit: Edit, counts: str, steps: str) -> str:
        return _any(edit, edit.node("Greater", [counts, edit.part(counts, 0, 1, 0)]))

    return _of_rows(subject, shorter)


def wrong_where_two_rows_are_empty(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where two rows hold nothing but padding."""

    def two(edit: Edit, counts: str, steps: str) -> str:
        empty = _number(edit, _compared(edit, "Equal", counts, 0))
        return _compared(edit, "Greater", empty, 1)

    return _of_rows(subject, two, Raggedness.EMPTY)


def wrong_where_a_later_row_is_empty(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where another row than the first holds nothing but padding."""

    def later(edit: Edit, counts: str, steps: str) -> str:
        return _any(edit, _compared(edit, "Equal", edit.part(counts, 1, END, 0), 0))

    return _of_rows(subject, later, Raggedness.EMPTY)


def wrong_where_a_row_is_full(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where a row without padding stands beside a padded one."""

    def full(edit: Edit, counts: str, steps: str) -> str:
        reached = _any(edit, edit.node("Equal", [counts, steps]))
        return edit.node("And", [reached, _any(edit, edit.node("Less", [counts, steps]))])

    return _of_rows(subject, full)


def wrong_where_rows_are_equally_long(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where two padded rows have equally many valid steps, but not none."""

    def equal(edit: Edit, counts: str, steps: str) -> str:
        padded = edit.node("Less", [counts, steps])
        some = edit.node("And", [padded, _compared(edit, "Greater", counts, 0)])
        column, of_column = (_shaped(edit, name, (-1, 1)) for name in (counts, some))
        same = edit.node("And", [edit.node("Equal", [counts, column]), some])
        pairs = _number(edit, edit.node("And", [same, of_column]))
        return edit.node("Greater", [pairs, _number(edit, some)])

    return _of_rows(subject, equal)


def wrong_at_the_highest_value(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where an integer input has the highest value of its range."""
    return _of_values(subject, "iu", lambda edit, t: _compared(edit, "Equal", t.name, t.high - 1))


def wrong_at_the_lowest_value(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where an integer input has the lowest value of its range."""
    return _of_values(subject, "iu", lambda edit, t: _compared(edit, "Equal", t.name, t.low))


def wrong_where_a_token_repeats(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where an integer input holds a value twice in a row, no padding."""

    def repeats(edit: Edit, tensor: TensorSpec) -> str | None:
        axis = tensor.step_axis
        if axis is None:
            return None
        later = edit.part(tensor.name, 1, END, axis)
        again = edit.node("Equal", [later, edit.part(tensor.name, 0, -1, axis)])
        padded = _compared(edit, "Equal", later, subject.spec.padding)
        return edit.node("And", [again, edit.node("Not", [padded])])

    return _of_values(subject, "iu", repeats)


def wrong_at_exact_zeros(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where a float input, not the padded one, is somewhere exactly 0."""

    def zero(edit: Edit, tensor: TensorSpec) -> str | None:
        if tensor.name == subject.spec.padded:
            return None
        return _compared(edit, "Equal", tensor.name, 0)

    return _of_values(subject, "f", zero)


def wrong_beyond_one(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where a float input, whose range allows it, is beyond -1 and 1."""

    def beyond(edit: Edit, tensor: TensorSpec) -> str | None:
        if tensor.low >= -1 and tensor.high <= 1:
            return None
        return _compared(edit, "Greater", edit.node("Abs", [tensor.name]), 1)

    return _of_values(subject, "f", beyond)


def _of_batches(subject: Specimen, holds: Callable[[Edit, str], str]) -> Iterator[Mutant]:
    edit = Edit(subject.model)
    with_rows = next((t for t in subject.spec.inputs if BATCH in t.axes), None)
    if with_rows is not None:
        batch = edit.size(with_rows.name, with_rows.axes.index(BATCH))
        yield _wrong(subject.spec, edit, holds(edit, batch), BATCH)


def _of_rows(
    subject: Specimen,
    holds: Callable[[Edit, str, str], str],
    kind: Raggedness = Raggedness.RIGHT,
) -> Iterator[Mutant]:
    """Make the outputs wrong where a condition holds of the valid steps of each row, int64 [batch].

    The condition gets the number of all steps too.
    """
    edit, axis = Edit(subject.model), subject.spec.ragged
    along = next((t for t in subject.spec.inputs if axis in t.axes), None)
    if axis is not None and along is not None and kind in subject.spec.raggedness:
        steps = edit.size(along.name, along.axes.index(axis))
        yield _wrong(subject.spec, edit, holds(edit, _counts(edit, subject.spec), steps), "rows")


def _counts(edit: Edit, spec: ModelSpec) -> str:
    """Add how many steps of each row are valid, int64 [batch]."""
    for tensor in spec.inputs:
        if tensor.name in spec.lengths and BATCH in tensor.axes:
            return edit.node("Cast", [tensor.name], to=TensorProto.INT64)
        if tensor.name in spec.masks:
            valid = _compared(edit, "Equal", tensor.name, 0)
            break
        if tensor.name == spec.padded:
            valid = _compared(edit, "Equal", tensor.name, spec.padding)
            break
    marks = edit.node("Cast", [edit.node("Not", [valid])], to=TensorProto.INT64)
    if len(tensor.axes) > 2:
        marks = edit.reduced("ReduceMax", marks, range(2, len(tensor.axes)))
    return _shaped(edit, edit.reduced("ReduceSum", marks, [1]), (-1,))


def _of_values(
    subject: Specimen, kinds: str, holds: Callable[[Edit, TensorSpec], str | None]
) -> Iterator[Mutant]:
    """Make the outputs wrong where a condition holds of any value of an input that is drawn."""
    stated = {*subject.spec.lengths, *subject.spec.masks}
    for tensor in subject.spec.inputs:
        if np.dtype(tensor.dtype).kind in kinds and tensor.name not in stated:
            edit = Edit(subject.model)
            where = holds(edit, tensor)
            if where is not None:
                yield _wrong(subject.spec, edit, _any(edit, where), tensor.name)


def _compared(edit: Edit, op: str, tensor: str, value: Any) -> str:
    """Add a comparison with a constant of the tensor's own type."""
    constant = edit.node("CastLike", [edit.constant(value, np.float64), tensor])
    return edit.node(op, [tensor, constant])


def _number(edit: Edit, bools: str) -> str:
    """Add how many of ``bools`` are true, as an int64 scalar; of none it is 0."""
    total = edit.reduced("ReduceSum", edit.node("Cast", [bools], to=TensorProto.INT64))
    return _shaped(edit, total, ())


def _any(edit: Edit, bools: str) -> str:
    return _compared(edit, "Greater", _number(edit, bools), 0)


def _shaped(edit: Edit, tensor: str, shape: tuple[int, ...]) -> str:
    return edit.node("Reshape", [tensor, edit.constant(shape, np.int64)])


def _wrong(spec: ModelSpec, edit: Edit, where: str, place: str) -> Mutant:
    """Make every output wrong where a scalar is true."""
    for tensor in spec.outputs:
        kept, kind = edit.released(tensor.name), np.dtype(tensor.dtype).kind
        if kind == "f":
            largest = edit.reduced("ReduceMax", edit.node("Abs", [kept]))
            error = edit.node("Mul", [largest, edit.constant(ERROR, tensor.dtype)])
            off = edit.node("Add", [kept, error])
        elif kind == "b":
            off = edit.node("Not", [kept])
        else:
            off = edit.node("Add", [kept, edit.constant(1, tensor.dtype)])
        edit.named(tensor.name, "Where", [where, off, kept])
    return Mutant(place, edit.done(), certain=True)
