"""Defects that show only for the batches and the values that production feeds.

What is wrong is large wherever it shows: the outputs are off by a hundredth of their largest value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from harness.core.schema import BATCH, Array, Arrays, Raggedness, Session, TensorSpec
from harness.mutation.defects.defect import Mutant, Specimen

ERROR = 0.01
LARGE = 16
"""The largest batch of the cases that every model gets."""


def wrong_for_batches_above_16(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where the batch is larger than 16."""
    return _of_batches(subject, lambda batch: batch > LARGE)


def wrong_for_batches_of_a_power_of_two(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where the batch is 4, 8, 16 or another power of two."""
    return _of_batches(subject, lambda batch: batch >= 4 and batch & (batch - 1) == 0)


def wrong_where_the_first_row_is_shorter(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where a batch's first row is shorter than a later one."""
    return _of_rows(subject, lambda valid: (_counts(valid)[1:] > _counts(valid)[0]).any())


def wrong_where_two_rows_are_empty(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where two rows hold nothing but padding."""
    return _of_rows(subject, lambda valid: (_counts(valid) == 0).sum() >= 2, Raggedness.EMPTY)


def wrong_where_a_later_row_is_empty(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where another row than the first holds nothing but padding."""
    return _of_rows(subject, lambda valid: (_counts(valid)[1:] == 0).any(), Raggedness.EMPTY)


def wrong_where_a_row_is_full(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where a row without padding stands beside a padded one."""
    return _of_rows(subject, lambda valid: valid.all(axis=1).any() and not valid.all())


def wrong_where_rows_are_equally_long(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where two padded rows have equally many valid steps."""

    def equal(valid: Array) -> bool:
        counts = _counts(valid)
        padded = counts[(counts > 0) & (counts < valid.shape[1])]
        return len(np.unique(padded)) < len(padded)

    return _of_rows(subject, equal)


def wrong_at_the_highest_value(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where an integer input has the highest value of its range."""
    return _of_values(subject, "iu", lambda tensor, value: (value == tensor.high - 1).any())


def wrong_at_the_lowest_value(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where an integer input has the lowest value of its range."""
    return _of_values(subject, "iu", lambda tensor, value: (value == tensor.low).any())


def wrong_where_a_token_repeats(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where an integer input holds a value twice in a row, no padding."""

    def repeats(tensor: TensorSpec, value: Array) -> bool:
        again = value[..., 1:] == value[..., :-1]
        return bool((again & (value[..., 1:] != subject.spec.padding)).any())

    return _of_values(subject, "iu", repeats)


def wrong_at_exact_zeros(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where a float input, not the padded one, is somewhere exactly 0."""
    unpadded = [t.name for t in subject.spec.inputs if t.name != subject.spec.padded]
    zero = _of_values(subject, "f", lambda tensor, value: (value == 0).any())
    return (mutant for mutant in zero if mutant.place in unpadded)


def wrong_beyond_one(subject: Specimen) -> Iterator[Mutant]:
    """The outputs are wrong where a float input, whose range allows it, is beyond -1 and 1."""
    wide = [t.name for t in subject.spec.inputs if t.low < -1 or t.high > 1]
    beyond = _of_values(subject, "f", lambda tensor, value: (np.abs(value) > 1).any())
    return (mutant for mutant in beyond if mutant.place in wide)


def _counts(valid: Array) -> Array:
    return np.asarray(valid.sum(axis=1))


def _of_batches(subject: Specimen, holds: Callable[[int], bool]) -> Iterator[Mutant]:
    with_rows = next((t for t in subject.spec.inputs if BATCH in t.axes), None)
    if with_rows is not None:
        name, axis = with_rows.name, with_rows.axes.index(BATCH)
        yield _wrong("batch", lambda inputs: holds(inputs[name].shape[axis]))


def _of_rows(
    subject: Specimen, holds: Callable[[Array], Any], kind: Raggedness = Raggedness.RIGHT
) -> Iterator[Mutant]:
    """Make the outputs wrong where a condition holds of the valid steps, [batch, steps] bool."""
    if kind not in subject.spec.raggedness:
        return

    def wrong(inputs: Arrays) -> bool:
        valid = subject.spec.valid_steps(inputs)
        return valid is not None and len(valid) > 0 and bool(holds(valid))

    yield _wrong("rows", wrong)


def _of_values(
    subject: Specimen, kinds: str, holds: Callable[[TensorSpec, Array], Any]
) -> Iterator[Mutant]:
    """Make the outputs wrong where a condition holds of an input that is drawn."""
    stated = {*subject.spec.lengths, *subject.spec.masks}
    for tensor in subject.spec.inputs:
        if np.dtype(tensor.dtype).kind in kinds and tensor.name not in stated:
            yield _wrong(
                tensor.name, partial(lambda t, inputs: bool(holds(t, inputs[t.name])), tensor)
            )


class _Wrong:
    """A session whose outputs are off where a condition holds of its inputs."""

    def __init__(self, holds: Callable[[Arrays], bool], session: Session) -> None:
        self._holds, self._session = holds, session

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        outputs = self._session.run(inputs)
        return [(name, _off(value)) for name, value in outputs] if self._holds(inputs) else outputs

    def evidence(self) -> dict[str, Any]:
        return self._session.evidence()


def _wrong(place: str, holds: Callable[[Arrays], bool]) -> Mutant:
    return Mutant(place, wrap=partial(_Wrong, holds), certain=True)


def _off(value: Array) -> Array:
    """Return an output off by a hundredth of its largest finite magnitude, an integer by one."""
    if value.dtype.kind != "f":
        return ~value if value.dtype.kind == "b" else value + value.dtype.type(1)
    finite = np.abs(value[np.isfinite(value)])
    moved: Array = value + value.dtype.type(ERROR * (finite.max(initial=0) or 1))
    return moved
