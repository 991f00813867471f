"""A case of a user model: its float64 outputs, and how far rounding moves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.core.bands import Bands, drowned, measured, merged, scale_of_most
from harness.core.projection import Projection, projected
from harness.core.schema import Array, Arrays, Case, ModelSpec
from harness.core.tolerance import largest_finite
from harness.goldens.noise_floor import drowns
from reference_models.cases import kept_steps, output_steps

COMPLETE_BYTES = 1 << 16
"""The largest outputs of a case of which a golden holds every step."""
SAME = 1e-10
"""The part of an output's scale by which two float64 runs may differ, in the order of sums."""


@dataclass
class Measured:
    """A case with its float64 outputs, and how far float32 runs are from them.

    ``steps`` are those of the time axis that the outputs still have, None for all; ``values`` is
    the number of values that they had. ``bands`` has each output's errors by magnitude,
    ``projections`` the sums of an output with more values than a golden holds, ``meaningless`` why
    a comparison would mean nothing; it is empty where one means something.
    """

    case: Case
    formulas: Mapping[str, Any]
    inputs: Arrays
    outputs: Arrays
    bands: dict[str, Bands] = field(default_factory=dict)
    projections: dict[str, Projection] = field(default_factory=dict)
    meaningless: str = ""
    steps: Array | None = None
    values: int = 0

    def __post_init__(self) -> None:
        self.values = sum(value.size for value in self.outputs.values())

    @property
    def noise(self) -> dict[str, float]:
        """The largest float32 error of each output; 0 for other than floats."""
        largest = {n: [e for _, e in bands.values()] for n, bands in self.bands.items()}
        return {name: max(largest.get(name, []), default=0.0) for name in self.outputs}

    def see(self, spec: ModelSpec, actual: Arrays) -> None:
        """Take in the outputs of a float32 run."""
        for tensor in spec.outputs:
            name, value, exact = tensor.name, actual[tensor.name], self.outputs[tensor.name]
            if value.shape != exact.shape or not alike(value, exact):
                self.meaningless = f"rounding alone changes {name}; a comparison would mean nothing"
                continue
            if exact.dtype.kind == "f":
                error = errors(value, exact)
                before = self.bands.get(name, {})
                self.bands[name] = merged([before, measured(exact, error)])
            if projection := self.projections.get(name):
                sums = projected(tensor, value, projection.squash)
                noise = max(projection.noise, float(np.abs(sums - projection.sums).max(initial=0)))
                self.projections[name] = replace(projection, noise=noise)

    def project(self, spec: ModelSpec) -> None:
        """Add the projection of each output with a time axis, for a case of which steps are left.

        Values are pressed together from 8 times the scale of most of them on.
        """
        for tensor in spec.outputs:
            value = self.outputs[tensor.name]
            if tensor.step_axis is not None and value.dtype.kind in "fiub":
                squash = 1.0
                if value.dtype.kind == "f":
                    squash = 8 * scale_of_most(measured(value, np.zeros(value.shape)))
                sums = projected(tensor, value, squash)
                self.projections[tensor.name] = Projection(sums, squash, 0.0)

    def thin(self, spec: ModelSpec) -> None:
        """Say whether a comparison means something, and keep some steps of large outputs."""
        self.meaningless = self.meaningless or _meaningless(self)
        if self.large:
            self.steps = kept_steps(output_steps(spec, self.case), len(self.case.id))
            for tensor in spec.outputs:
                value = tensor.at_steps(self.outputs[tensor.name], self.steps)
                self.outputs[tensor.name] = np.ascontiguousarray(value)

    @property
    def large(self) -> bool:
        """Whether the outputs are larger than what a golden holds at every step."""
        return sum(value.nbytes for value in self.outputs.values()) > COMPLETE_BYTES

    def same(self, spec: ModelSpec, again: Arrays) -> str:
        """Return the output that another float64 run gives otherwise; empty where there is none.

        They may differ by what the order of sums may make them.
        """
        for tensor in spec.outputs:
            value, before = again[tensor.name], self.outputs[tensor.name]
            projection = self.projections.get(tensor.name)
            pairs = [(value, before)]
            if projection is not None and tensor.step_axis is not None:
                if value.shape[tensor.step_axis] != projection.steps:
                    return tensor.name
                sums = projected(tensor, value, projection.squash)
                pairs = [(tensor.at_steps(value, self.steps), before), (sums, projection.sums)]
            if not all(a.shape == b.shape and alike(a, b) and _as_before(a, b) for a, b in pairs):
                return tensor.name
        return ""


def alike(actual: Array, exact: Array) -> bool:
    """Return whether the integers, or the places that are not finite, are the same."""
    if exact.dtype.kind != "f":
        return np.array_equal(actual, exact)
    not_finite = ~np.isfinite(exact)
    return np.array_equal(not_finite, ~np.isfinite(actual)) and np.array_equal(
        actual[not_finite], exact[not_finite], equal_nan=True
    )


def errors(actual: Array, exact: Array) -> Array:
    """Return the absolute errors of floats; 0 where a value is not finite."""
    with np.errstate(invalid="ignore"):
        error = np.abs(actual.astype(np.float64) - exact)
    return np.where(np.isfinite(exact), error, 0.0)


def _as_before(again: Array, value: Array) -> bool:
    """Return whether two float64 runs differ by no more than the order of sums may make them."""
    floats = value.dtype.kind == "f"
    return not floats or bool(errors(again, value).max(initial=0.0) <= SAME * largest_finite(value))


def _meaningless(result: Measured) -> str:
    """Return why a comparison of this case would mean nothing; empty where it means something."""
    for name, value in result.outputs.items():
        if value.dtype.kind == "f" and value.size and not np.isfinite(value).any():
            return f"{name} is finite nowhere; there is nothing to compare"
        moved = drowned(result.bands.get(name, {}))
        scale, noise = largest_finite(value), result.noise[name]
        if moved is None and value.dtype.kind == "f" and drowns(noise, scale):
            moved = noise, scale
        if moved is not None:
            return (
                f"rounding alone moves {name} by {moved[0]:.1g} of {moved[1]:.1g}; a comparison"
                " would mean nothing"
            )
    return ""
