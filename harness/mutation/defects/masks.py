"""Defects of a mask: which steps of which rows are taken as valid."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from onnx import TensorProto

from harness.graphs.edit import Edit
from harness.mutation.defects.defect import Mutant, Specimen
from harness.mutation.defects.padding import STEPS, all_valid, mask_name, mask_of, padding_test


def mask_ignored(subject: Specimen) -> Iterator[Mutant]:
    """Every step is taken as valid."""
    yield from _changed(subject, all_valid)


def mask_inverted(subject: Specimen) -> Iterator[Mutant]:
    """Padded steps are taken as valid, and valid ones as padded."""
    yield from _changed(subject, lambda edit, mask: edit.node("Not", [mask]))


def mask_reversed(subject: Specimen) -> Iterator[Mutant]:
    """The mask is reversed in time."""
    yield from _changed(subject, lambda edit, mask: edit.flipped(mask, STEPS))


def mask_late(subject: Specimen) -> Iterator[Mutant]:
    """The mask is one step late, the last step's coming first."""
    yield from _changed(subject, lambda edit, mask: edit.rolled(mask, STEPS))


def mask_of_the_first_row(subject: Specimen) -> Iterator[Mutant]:
    """The mask of a batch's first row is used for all its rows."""

    def first(edit: Edit, mask: str) -> str:
        return edit.node("Expand", [edit.part(mask, 0, 1, 0), edit.node("Shape", [mask])])

    yield from _changed(subject, first)


def mask_of_another_row(subject: Specimen) -> Iterator[Mutant]:
    """Every row of a batch has the mask of the row before it."""
    yield from _changed(subject, lambda edit, mask: edit.rolled(mask, 0))


def mask_of_another_id(subject: Specimen) -> Iterator[Mutant]:
    """The id 1 marks a padded step instead of 0."""
    edit = Edit(subject.model)
    equal = padding_test(edit, subject)
    if equal is not None and mask_of(edit, subject):
        index = 1 - list(equal.input).index(subject.spec.padded)
        edit.feed(equal, index, edit.constant(np.ones_like(edit.value(equal.input[index]))))
        yield Mutant(mask_name(subject), edit.done())


def padding_taken_to_be_last(subject: Specimen) -> Iterator[Mutant]:
    """As many steps as are valid are taken from the start, wherever the valid ones lie."""

    def prefix(edit: Edit, mask: str) -> str:
        return edit.node("Less", [edit.positions(mask, STEPS), _total(edit, mask)])

    yield from _changed(subject, prefix)


def padding_taken_to_be_first(subject: Specimen) -> Iterator[Mutant]:
    """As many steps as are valid are taken from the end, wherever the valid ones lie."""

    def suffix(edit: Edit, mask: str) -> str:
        before = edit.node("Sub", [edit.size(mask, STEPS), _total(edit, mask)])
        return edit.node("GreaterOrEqual", [edit.positions(mask, STEPS), before])

    yield from _changed(subject, suffix)


def gaps_filled(subject: Specimen) -> Iterator[Mutant]:
    """Every step up to the last valid one is taken as valid."""
    zero = np.int64(0)
    yield from _changed(
        subject, lambda e, mask: e.node("Greater", [_count(e, mask, reverse=1), e.constant(zero)])
    )


def last_valid_step_dropped(subject: Specimen) -> Iterator[Mutant]:
    """The last valid step of every row is taken as padded."""
    yield from _changed(subject, lambda edit, mask: _without_one(edit, mask, reverse=1))


def first_valid_step_dropped(subject: Specimen) -> Iterator[Mutant]:
    """The first valid step of every row is taken as padded."""
    yield from _changed(subject, lambda edit, mask: _without_one(edit, mask, reverse=0))


def one_padded_step_taken_as_valid(subject: Specimen) -> Iterator[Mutant]:
    """The first padded step of every row is taken as valid."""

    def longer(edit: Edit, mask: str) -> str:
        return edit.node("Not", [_without_one(edit, edit.node("Not", [mask]), reverse=0)])

    yield from _changed(subject, longer)


def _changed(subject: Specimen, change: Callable[[Edit, str], str]) -> Iterator[Mutant]:
    edit = Edit(subject.model)
    if mask := mask_of(edit, subject):
        edit.rewrite(mask, lambda old: change(edit, old))
        yield Mutant(mask_name(subject), edit.done())


def _count(edit: Edit, mask: str, reverse: int) -> str:
    """Count the valid steps up to each one, or from it on: int64 [batch, steps]."""
    counted = edit.node("Cast", [mask], to=TensorProto.INT64)
    return edit.node("CumSum", [counted, edit.constant(STEPS, np.int64)], reverse=reverse)


def _total(edit: Edit, mask: str) -> str:
    """Count the valid steps of each row: int64 [batch, 1]."""
    return edit.reduced("ReduceSum", edit.node("Cast", [mask], to=TensorProto.INT64), [STEPS])


def _without_one(edit: Edit, mask: str, reverse: int) -> str:
    """Return the mask without the first valid step of each row, or without the last."""
    more = edit.node("Greater", [_count(edit, mask, reverse), edit.constant(1, np.int64)])
    return edit.node("And", [mask, more])
