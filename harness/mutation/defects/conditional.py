"""Defects that show only under a condition: at some lengths, batches, rows, steps or runs.

What is wrong is large wherever it shows: the output is off by a hundredth of its largest value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto

from harness.core.schema import BATCH, Array, Arrays, ModelSpec, Session, TensorSpec
from harness.graphs.edit import Edit
from harness.mutation.defects.defect import Mutant, Specimen, outputs

ERROR = 0.01
LIMITS = (255, 1023, 4095)
BLOCK = 64

Run = tuple[Arrays, Arrays]
"""The inputs of a run and the outputs of a sound session."""


def wrong_beyond_a_length(subject: Specimen) -> Iterator[Mutant]:
    """An output is wrong for sequences longer than 255, 1023 or 4095."""
    for limit in LIMITS:

        def beyond(edit: Edit, length: str, limit: int = limit) -> str:
            return edit.node("Greater", [length, edit.constant(limit, np.int64)])

        yield from _at_lengths(subject, beyond, f" > {limit}")


def wrong_at_odd_lengths(subject: Specimen) -> Iterator[Mutant]:
    """An output is wrong for sequences of odd length."""
    return _at_lengths(subject, partial(_leaves, divisor=2, remainder=1), " odd")


def wrong_at_multiples_of_64(subject: Specimen) -> Iterator[Mutant]:
    """An output is wrong for sequences whose length is a multiple of 64."""
    return _at_lengths(subject, partial(_leaves, divisor=BLOCK, remainder=0), " multiple of 64")


def wrong_for_a_batch_of_one(subject: Specimen) -> Iterator[Mutant]:
    """An output is wrong where the batch is 1."""
    return _at_batches(subject, "Equal")


def wrong_for_larger_batches(subject: Specimen) -> Iterator[Mutant]:
    """An output is wrong where the batch is larger than 1."""
    return _at_batches(subject, "Greater")


def wrong_in_last_row(subject: Specimen) -> Iterator[Mutant]:
    """The last row of an output is wrong."""
    for tensor, edit, kept in _outputs(subject):
        where = _last_along(edit, tensor, kept, tensor.axes.index(BATCH))
        yield _wrong(edit, tensor, kept, where)


def wrong_at_last_step(subject: Specimen) -> Iterator[Mutant]:
    """The last step of an output is wrong."""
    for tensor, edit, kept in _outputs(subject):
        if tensor.step_axis is not None:
            yield _wrong(edit, tensor, kept, _last_along(edit, tensor, kept, tensor.step_axis))


def wrong_at_first_step(subject: Specimen) -> Iterator[Mutant]:
    """The first step of an output is wrong."""
    for tensor, edit, kept in _outputs(subject):
        if tensor.step_axis is not None:
            index = _indices(edit, tensor, kept, tensor.step_axis)
            where = edit.node("Equal", [index, edit.constant(0, np.int64)])
            yield _wrong(edit, tensor, kept, where)


def wrong_where_a_row_is_empty(subject: Specimen) -> Iterator[Mutant]:
    """The rows of an output that belong to nothing but padding are wrong."""
    for tensor, edit, kept in _outputs(subject) if subject.spec.padded else ():
        padded = next(t for t in subject.spec.inputs if t.name == subject.spec.padded)
        same = [padded.name, edit.constant(subject.spec.padding, padded.dtype)]
        padding = edit.node("Cast", [edit.node("Equal", same)], to=TensorProto.INT32)
        every = edit.reduced("ReduceMin", padding, range(1, len(padded.axes)))
        empty = edit.node("Cast", [every], to=TensorProto.BOOL)
        yield _wrong(edit, tensor, kept, _aligned(edit, tensor, empty, tensor.axes.index(BATCH)))


def wrong_on_second_run(subject: Specimen) -> Iterator[Mutant]:
    """The second run of a session is wrong."""
    yield _spoilt(lambda now, past: _off(now[1], now[1]) if len(past) == 1 else now[1])


def wrong_in_one_run_of_three(subject: Specimen) -> Iterator[Mutant]:
    """Every third run of a session is wrong, whatever its inputs."""
    yield _spoilt(lambda now, past: _off(now[1], now[1]) if len(past) % 3 == 2 else now[1])


def wrong_after_a_longer_run(subject: Specimen) -> Iterator[Mutant]:
    """A run is wrong once the session has seen a longer sequence."""

    def spoil(now: Run, past: list[Run]) -> Arrays:
        longest = max((_length(subject.spec, inputs) for inputs, _ in past), default=0)
        return _off(now[1], now[1]) if longest > _length(subject.spec, now[0]) else now[1]

    yield _spoilt(spoil)


def state_of_previous_run_leaks(subject: Specimen) -> Iterator[Mutant]:
    """A hundredth of the largest magnitude that the run before gave is added to an output."""
    yield _spoilt(lambda now, past: _off(past[-1][1], now[1]) if past else now[1])


def _outputs(subject: Specimen) -> Iterator[tuple[TensorSpec, Edit, str]]:
    """Yield the ``outputs`` that have a batch."""
    return (entry for entry in outputs(subject) if BATCH in entry[0].axes)


def _at_batches(subject: Specimen, comparison: str) -> Iterator[Mutant]:
    """Make each output wrong where the comparison of the batch with 1 holds."""
    for tensor, edit, kept in _outputs(subject):
        batch = edit.size(kept, tensor.axes.index(BATCH))
        where = edit.node(comparison, [batch, edit.constant(1, np.int64)])
        yield _wrong(edit, tensor, kept, where)


def _at_lengths(
    subject: Specimen, condition: Callable[[Edit, str], str], label: str
) -> Iterator[Mutant]:
    """Make each output wrong where the length of each sequence axis meets a condition."""
    spec = subject.spec
    of_inputs = {*spec.lengths.values(), *(axis for tensor in spec.inputs for axis in tensor.axes)}
    for axis in (axis for axis in spec.axes if axis in of_inputs):
        for tensor, edit, kept in _outputs(subject):
            where = condition(edit, _length_of(edit, spec, axis))
            yield _wrong(edit, tensor, kept, where, f" {axis}{label}")


def _length_of(edit: Edit, spec: ModelSpec, axis: str) -> str:
    """Return the length of an axis as an int64 scalar, by an input that has it or states it."""
    for tensor in spec.inputs:
        if axis in tensor.axes:
            return edit.size(tensor.name, tensor.axes.index(axis))
    stated = next(name for name, meant in spec.lengths.items() if meant == axis)
    return edit.node("Cast", [stated], to=7)


def _leaves(edit: Edit, length: str, divisor: int, remainder: int) -> str:
    left = edit.node("Mod", [length, edit.constant(divisor, np.int64)])
    return edit.node("Equal", [left, edit.constant(remainder, np.int64)])


def _last_along(edit: Edit, tensor: TensorSpec, kept: str, axis: int) -> str:
    last = edit.node("Sub", [edit.size(kept, axis), edit.constant(1, np.int64)])
    return edit.node("Equal", [_indices(edit, tensor, kept, axis), last])


def _indices(edit: Edit, tensor: TensorSpec, kept: str, axis: int) -> str:
    """Return 0, 1, … along one axis of an output, in its rank."""
    return _aligned(edit, tensor, edit.positions(kept, axis), axis)


def _aligned(edit: Edit, tensor: TensorSpec, values: str, axis: int) -> str:
    """Return one value for each place along an axis, shaped to meet the output there."""
    shape = [-1 if number == axis else 1 for number in range(len(tensor.axes))]
    return edit.node("Reshape", [values, edit.constant(shape, np.int64)])


def _wrong(edit: Edit, tensor: TensorSpec, kept: str, where: str, label: str = "") -> Mutant:
    """Make an output off by a hundredth of its largest magnitude where a boolean tensor holds."""
    largest = edit.reduced("ReduceMax", edit.node("Abs", [kept]))
    error = edit.node("Mul", [largest, edit.constant(ERROR, tensor.dtype)])
    edit.named(tensor.name, "Where", [where, edit.node("Add", [kept, error]), kept])
    return Mutant(tensor.name + label, edit.done())


class _Spoilt:
    """A session whose outputs are changed by what it ran before."""

    def __init__(self, spoil: Callable[[Run, list[Run]], Arrays], session: Session) -> None:
        self._spoil, self._session = spoil, session
        self._past: list[Run] = []

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        sound = self._session.run(inputs)
        now = (inputs, dict(sound))
        changed = self._spoil(now, self._past)
        self._past.append(now)
        return [(name, changed[name]) for name, _ in sound]

    def evidence(self) -> dict[str, Any]:
        return self._session.evidence()


def _spoilt(spoil: Callable[[Run, list[Run]], Arrays]) -> Mutant:
    return Mutant("session", wrap=partial(_Spoilt, spoil))


def _off(scale: Arrays, outputs: Arrays) -> Arrays:
    """Return ``outputs``, off by a hundredth of each one's largest magnitude in ``scale``."""
    return {
        name: value + value.dtype.type(ERROR * np.abs(scale[name]).max(initial=0))
        for name, value in outputs.items()
    }


def _length(spec: ModelSpec, inputs: Arrays) -> int:
    """Return the longest sequence of a run: of its inputs, or a length that one states."""
    sizes = [
        inputs[t.name].shape[i] for t in spec.inputs for i, a in enumerate(t.axes) if a in spec.axes
    ]
    stated = [int(inputs[name].max(initial=0)) for name in spec.lengths]
    return max([*sizes, *stated], default=0)
