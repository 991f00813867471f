"""The values of a user model's cases: uniform ones, ends of ranges, repeated ones and NaN in turn.

Integers are drawn without replacement over all cases with uniform values, so that every row of a
table is read where there are as many steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from math import prod

import numpy as np

from harness.core.schema import BATCH, Array, Arrays, Case, ModelSpec, Raggedness, TensorSpec
from harness.goldens.formulas import MOST_PERMUTED, Formula, evaluate
from reference_models import cases
from reference_models.cases import formulas, seed_of

FEATURES = 8
"""The values of a step of which all could be padding by chance only."""
MOST_COUNTED = 10**7
"""The largest range whose values are counted."""


@dataclass(frozen=True)
class Feed:
    """A case with its inputs and their formulas."""

    case: Case
    formulas: Mapping[str, Formula]
    inputs: Arrays


class Values:
    """What the cases of a model are fed, each in its turn."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._turns = count()
        self._read: Counter[str] = Counter()

    def feed(self, case: Case, turn: int | None = None) -> Feed:
        """Return a case's values of a kind: ends at turn 1 of four, runs at 3, maybe NaN at 2.

        They are the next kind's where ``turn`` is None.
        """
        turn = (next(self._turns) if turn is None else turn) % 4
        spec, seed = self._spec, seed_of(f"{self._spec.name}/{case.id}")
        changed = {
            name: self._changed(case, tensor, formula, turn)
            for (name, formula), tensor in zip(
                formulas(spec, case, seed).items(), spec.inputs, strict=True
            )
        }
        return fed(spec, case, changed)

    def took(self, feed: Feed) -> None:
        """Take note that a case is run, so that what it reads of a range is not drawn again."""
        for tensor in self._spec.inputs:
            if feed.formulas[tensor.name].get("permuted") is not None:
                self._read[tensor.name] += _read(self._spec, feed, tensor).size

    def unread(self) -> int:
        """Return how many values of the largest range were not drawn yet."""
        return max((size(t) - self._read[t.name] for t in integers(self._spec)), default=0)

    def _changed(
        self, case: Case, tensor: TensorSpec, formula: Formula, turn: int
    ) -> Mapping[str, object]:
        spec = self._spec
        if "low" not in formula or tensor.dtype == "bool":
            return formula
        changes: dict[str, object] = {}
        hidden = case.raggedness is not Raggedness.NONE and "counts" not in formula
        if turn == 1:
            changes["ends"] = ends(spec, tensor)
        elif turn == 3 and tensor.step_axis == 1:
            changes["runs"] = True
        elif not hidden and tensor in integers(spec) and size(tensor) <= MOST_PERMUTED:
            changes = {"permuted": seed_of(spec.name), "first": self._read[tensor.name]}
        elif turn == 2 and tensor.nan and tensor.step_axis == 1:
            changes["nan"] = True
        return {**formula, **{name: value for name, value in changes.items() if value}}


def fed(spec: ModelSpec, case: Case, by_name: Mapping[str, Formula]) -> Feed:
    """Return a case with the inputs that these formulas give."""
    inputs = {
        t.name: evaluate(by_name[t.name], t.shape(case.batch, case.lengths), t.dtype)
        for t in spec.inputs
    }
    return Feed(case, by_name, inputs)


def integers(spec: ModelSpec) -> list[TensorSpec]:
    """Return the inputs of integers from a range, which may be places in a table."""
    apart = {*spec.masks, *spec.lengths, *spec.causal}
    whole = (t for t in spec.inputs if t.whole or np.dtype(t.dtype).kind in "iu")
    return [tensor for tensor in whole if tensor.name not in apart]


def size(tensor: TensorSpec) -> int:
    return int(tensor.high) - int(tensor.low)


def ends(spec: ModelSpec, tensor: TensorSpec) -> list[float]:
    """Return both ends of a range and, of floats, 0 where it holds that; never a padded step."""
    marks = tensor.name in spec.paddings and prod(_features(tensor)) < FEATURES
    padding = float(np.asarray(spec.paddings.get(tensor.name, 0), tensor.dtype))
    return [end for end in dict.fromkeys(cases.ends(tensor)) if not (marks and end == padding)]


def coverage(spec: ModelSpec, feeds: Iterable[Feed]) -> dict[str, list[int]]:
    """Return how many values of each range of integers are read, and how many it has."""
    feeds, result = list(feeds), {}
    for tensor in integers(spec):
        if size(tensor) <= MOST_COUNTED:
            seen = np.zeros(size(tensor), bool)
            for feed in feeds:
                seen[_read(spec, feed, tensor).astype(np.int64) - int(tensor.low)] = True
            result[tensor.name] = [int(seen.sum()), size(tensor)]
    return result


def _features(tensor: TensorSpec) -> list[int]:
    return [axis for axis in tensor.axes if isinstance(axis, int)]


def _read(spec: ModelSpec, feed: Feed, tensor: TensorSpec) -> Array:
    """Return the values at valid steps, flat."""
    value = feed.inputs[tensor.name]
    axis = next((a for a in spec.ragged_axes if {*tensor.axes[:2]} == {BATCH, a}), None)
    if feed.case.raggedness is Raggedness.NONE or axis is None:
        return value.reshape(-1)
    valid = spec.valid_steps(feed.inputs, axis)
    assert valid is not None
    return value[valid if tensor.axes[0] == BATCH else valid.T]
