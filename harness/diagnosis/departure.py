"""How far an output departs at each step in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core import compare
from harness.core.schema import Array, Case, GoldenCase, ModelSpec
from harness.core.tolerance import Row
from harness.diagnosis.form import Departure

Outputs = list[tuple[str, Array]]


@dataclass(frozen=True)
class Along:
    """The largest error of one output at each of ``steps``; infinite where a value is not finite.

    ``whole`` is set where these are all of the ``length`` steps; an output without a time axis has
    one step, and no ``axis``.
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

    def entry(self) -> Departure:
        return Departure(
            lengths=self.case.lengths,
            batch=self.case.batch,
            raggedness=self.case.raggedness,
            rows=self.case.rows,
            output=self.output,
            tolerance=self.tolerance,
            scale=self.scale,
            steps=self.steps,
            errors=[e if np.isfinite(e) else None for e in self.errors],
            length=self.length,
            whole=self.whole,
            first_step=self.first,
            steps_beyond=len(self.beyond),
        )


def along(spec: ModelSpec, golden: GoldenCase, actual: Outputs, row: Row) -> list[Along]:
    """Return every output that departs, the earliest first; none where names or shapes do."""
    if compare.structure(spec, golden, actual, row):
        return []
    arrays, departures = dict(actual), []
    for comparison in compare.compare(spec, golden, actual, row):
        if comparison.reason:
            axis = spec.output(comparison.name).step_axis
            departures.append(
                _along(golden, comparison.name, arrays[comparison.name], axis, comparison.tolerance)
            )
    return sorted(departures, key=lambda departure: (departure.first is None, departure.first))


def _along(
    golden: GoldenCase, name: str, actual: Array, axis: int | None, tolerance: float
) -> Along:
    expected = golden.outputs[name].astype(np.float64)
    steps = golden.steps if axis is not None else None
    length = 1 if axis is None else actual.shape[axis]
    chosen = np.arange(length) if steps is None else steps
    values = actual.astype(np.float64)
    values = values if steps is None or axis is None else values.take(steps, axis=axis)
    with np.errstate(invalid="ignore"):
        same = (values == expected) | (np.isnan(values) & np.isnan(expected))
        error = np.where(same, 0.0, np.abs(values - expected))
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
    """Return whether every place that departs is a padded step; None where that is unknown."""
    valid = spec.valid_steps(golden.inputs)
    if valid is None or along.axis != 1 or not along.whole or len(spec.ragged_axes) > 1:
        return None
    expected = golden.outputs[along.output].astype(np.float64)
    if expected.shape[:2] != valid.shape:
        return None
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(actual.astype(np.float64) - expected) <= along.tolerance)
    places = wrong.reshape(*valid.shape, -1).any(axis=2)
    return not valid[places].any()
