"""Defects of order: steps that are lost, late or reversed, and rows that see each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from harness.core.schema import BATCH
from harness.graphs.edit import END, Edit
from harness.mutation.defects.defect import Mutant, Specimen, recurrent

Change = Callable[[Edit, str, int], str]
"""Adds a tensor of the same shape, computed from one along an axis; its name."""


def first_step_lost(subject: Specimen) -> Iterator[Mutant]:
    """The first step of an input is left out."""
    yield from _shortened(subject, 1, END)


def last_step_lost(subject: Specimen) -> Iterator[Mutant]:
    """The last step of an input is left out."""
    yield from _shortened(subject, 0, -1)


def steps_late(subject: Specimen) -> Iterator[Mutant]:
    """Every step of a sequence comes one late, after one of zeros."""

    def late(edit: Edit, tensor: str, axis: int) -> str:
        first = edit.part(tensor, 0, 1, axis)
        zeros = edit.node("Sub", [first, first])
        return edit.node("Concat", [zeros, edit.part(tensor, 0, -1, axis)], axis=axis)

    yield from _steps(subject, late)


def steps_rolled(subject: Specimen) -> Iterator[Mutant]:
    """Every step of a sequence comes one late, after the last one."""
    yield from _steps(subject, lambda edit, tensor, axis: edit.rolled(tensor, axis))


def steps_reversed(subject: Specimen) -> Iterator[Mutant]:
    """The steps of a sequence come in reverse order."""
    yield from _steps(subject, lambda edit, tensor, axis: edit.flipped(tensor, axis))


def first_two_steps_swapped(subject: Specimen) -> Iterator[Mutant]:
    """The first two steps of a sequence have changed places."""

    def swapped(edit: Edit, tensor: str, axis: int) -> str:
        parts = [edit.part(tensor, *bounds, axis) for bounds in ((1, 2), (0, 1), (2, END))]
        return edit.node("Concat", parts, axis=axis)

    yield from _steps(subject, swapped)


def rows_reversed(subject: Specimen) -> Iterator[Mutant]:
    """The rows of a batch come in reverse order."""
    yield from _rows(subject, lambda edit, tensor, axis: edit.flipped(tensor, axis))


def first_row_for_all(subject: Specimen) -> Iterator[Mutant]:
    """Every row of a batch is the first one."""

    def first(edit: Edit, tensor: str, axis: int) -> str:
        shape = edit.node("Shape", [tensor])
        return edit.node("Expand", [edit.part(tensor, 0, 1, axis), shape])

    yield from _rows(subject, first)


def step_of_another_row(subject: Specimen) -> Iterator[Mutant]:
    """At the middle step every row of a recurrent node's input is the row before it."""
    for name, edit, node in recurrent(subject):
        steps = node.input[0]
        middle = edit.node("Div", [edit.size(steps, 0), edit.constant(2, np.int64)])
        is_middle = edit.node("Equal", [edit.positions(steps, 0), middle])
        is_middle = edit.node("Unsqueeze", [is_middle, edit.constant([1, 2], np.int64)])
        edit.feed(node, 0, edit.node("Where", [is_middle, edit.rolled(steps, 1), steps]))
        yield Mutant(name, edit.done())


def _shortened(subject: Specimen, start: int, stop: int) -> Iterator[Mutant]:
    for tensor in subject.spec.inputs:
        if (axis := tensor.step_axis) is not None:
            edit = Edit(subject.model)
            edit.rewrite(tensor.name, partial(edit.part, start=start, stop=stop, axis=axis))
            yield Mutant(tensor.name, edit.done())


def _steps(subject: Specimen, change: Change) -> Iterator[Mutant]:
    """Change every recurrent node's input, and every output that has a time axis, along it."""
    axes = {t.name: t.step_axis for t in subject.spec.outputs}
    yield from _changed(subject, 0, axes, change)


def _rows(subject: Specimen, change: Change) -> Iterator[Mutant]:
    """Change every recurrent node's input, and every output that has a batch axis, along it."""
    axes = {t.name: t.axes.index(BATCH) for t in subject.spec.outputs if BATCH in t.axes}
    yield from _changed(subject, 1, axes, change)


def _changed(
    subject: Specimen, axis: int, outputs: dict[str, int] | dict[str, int | None], change: Change
) -> Iterator[Mutant]:
    """Change along ``axis`` what enters each recurrent node, and each output along its own."""
    for name, edit, node in recurrent(subject):
        edit.feed(node, 0, change(edit, node.input[0], axis))
        yield Mutant(name, edit.done())
    for name, along in outputs.items():
        if along is not None:
            edit = Edit(subject.model)
            edit.publish(name, change(edit, name, along))
            yield Mutant(name, edit.done())
