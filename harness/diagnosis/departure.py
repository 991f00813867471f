"""How far an output departs at each step in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core import compare
from harness.core.schema import Array, Case, GoldenCase, ModelSpec
from harness.core.tolerance import Row
from harness.typed_json import plain

Outputs = list[tuple[str, Array]]


@dataclass(frozen=True)
class Along:
    """The largest error of one output at each of ``steps``; infinite where a value is not finite.

    ``whole`` says that these are all the ``length`` steps there are; an output without a time axis
    has one, and no ``axis``.
    """

    case: Case
    output: str
    axis: int | None
    tolerance: float
    scale: float
    steps: tuple[int, ...]
    errors: tuple[float, ...]
    length: int
    whole: bool

    @property
    def beyond(self) -> list[int]:
        """The steps at which it departs beyond its tolerance."""
        pairs = zip(self.steps, self.errors, strict=True)
        return [step for step, error in pairs if not error <= self.tolerance]

    @property
    def first(self) -> int | None:
        """The first step that departs; None where there is no time axis."""
        return self.beyond[0] if self.beyond and self.axis is not None else None

    def as_dict(self) -> dict[str, Any]:
        told = plain(self)
        case = told.pop("case")
        del told["axis"]
        return {
            **{name: case[name] for name in ("lengths", "batch", "raggedness")},
            **told,
            "first_step": self.first,
            "steps_beyond": len(self.beyond),
            "errors": [e if np.isfinite(e) else None for e in self.errors],
        }


def along(spec: ModelSpec, golden: GoldenCase, actual: Outputs, row: Row) -> list[Along]:
    """Every output that departs, along time; none where names, dtypes or shapes do.

    The one that departs first comes first.
    """
    if compare.structure(spec, golden, actual, row):
        return []
    arrays, found = dict(actual), []
    for told in compare.compare(spec, golden, actual, row):
        if told.reason:
            axis = spec.output(told.name).step_axis
            found.append(_along(golden, told.name, arrays[told.name], axis, told.tolerance))
    return sorted(found, key=lambda one: (one.first is None, one.first))


def _along(
    golden: GoldenCase, name: str, actual: Array, axis: int | None, tolerance: float
) -> Along:
    expected = golden.outputs[name].astype(np.float64)
    steps = golden.steps if axis is not None else None
    length = 1 if axis is None else actual.shape[axis]
    chosen = np.arange(length) if steps is None else steps
    given = actual.astype(np.float64)
    given = given if steps is None or axis is None else given.take(steps, axis=axis)
    with np.errstate(invalid="ignore"):
        same = (given == expected) | (np.isnan(given) & np.isnan(expected))
        error = np.where(same, 0.0, np.abs(given - expected))
    error = np.where(np.isnan(error), np.inf, error)
    rows = error.reshape(1, -1) if axis is None else np.moveaxis(error, axis, 0)
    errors = rows.reshape(len(rows), -1).max(axis=1, initial=0.0)
    scale = max(golden.scale.get(name, 0.0), float(np.abs(expected).max(initial=0.0)))
    return Along(
        golden.case,
        name,
        axis,
        tolerance,
        scale,
        tuple(map(int, chosen)),
        tuple(map(float, errors)),
        length,
        steps is None,
    )


def only_padded(along: Along, golden: GoldenCase, actual: Array, spec: ModelSpec) -> bool | None:
    """Whether every place that departs is a padded step; None where that cannot be told."""
    valid = spec.valid_steps(golden.inputs)
    if valid is None or along.axis != 1 or not along.whole:
        return None
    expected = golden.outputs[along.output].astype(np.float64)
    if expected.shape[:2] != valid.shape:
        return None
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(actual.astype(np.float64) - expected) <= along.tolerance)
    places = wrong.reshape(*valid.shape, -1).any(axis=2)
    return not valid[places].any()
