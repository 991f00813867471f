"""How far an output may lie from the oracle: a multiple of what rounding alone explains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.core.operator_errors import SUMS, Errors, OfLargest
from harness.core.schema import Array


@dataclass(frozen=True)
class Row:
    """How far a runtime may err, and why: a factor over what rounding alone explains.

    ``k`` multiplies the larger of the noise floor and one float32 ulp of the output's scale; for a
    runtime in ``full_precision``, the scale alone. ``name`` is the runtime's, filled in where it
    is loaded. ``operators`` and ``of_largest`` are its operators' own errors
    (``core.operator_errors``), ``at_outputs`` those of the operators that give a graph's outputs,
    where the graph itself is known to be right.
    """

    k: float
    reason: str
    full_precision: bool = False
    name: str = ""
    operators: Errors = field(default_factory=dict)
    of_largest: OfLargest = field(default_factory=lambda: SUMS)
    at_outputs: Errors = field(default_factory=dict)

    def evidence(self) -> dict[str, Any]:
        """Return the row for a report."""
        factor = "of_scale" if self.full_precision else "k"
        return {"row": self.name, factor: self.k, "reason": self.reason}


DEFAULT_ROW = Row(4.0, "the default")


def output_dtype(row: Row, declared: str) -> np.dtype[Any]:
    """Return the dtype that a runtime of ``row`` must give an output declared as ``declared``."""
    dtype = np.dtype(declared)
    return np.dtype(np.float64) if row.full_precision and dtype.kind == "f" else dtype


def one_ulp(scale: float) -> float:
    """Return the distance from ``scale``, at most the largest float32, to the next float32."""
    limits = np.finfo(np.float32)
    within = min(max(abs(scale), float(limits.tiny)), float(limits.max) / 2)
    return float(np.spacing(np.float32(within)))


def largest_finite(values: Array) -> float:
    """Return the largest finite magnitude; 0 where nothing is finite, and for strings."""
    if values.dtype.kind in "OSU":
        return 0.0
    finite = values[np.isfinite(values)].astype(np.float64, copy=False)
    return float(np.abs(finite).max(initial=0.0))


def rounded_scale(values: Array) -> float:
    """Return the largest absolute value among those that rounding to float32 changes; 0 for none.

    A value that float32 holds exactly was filled in, not computed: -1e9 where a mask is 0, or the
    zero of a padded step. It says nothing of how rounding moves the others.
    """
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        changed = finite[finite.astype(np.float32) != finite]
    return float(np.abs(changed).max(initial=0.0))


def scale_of(usual: float, expected: Array) -> float:
    """Return an output's scale: ``usual``, that at lengths like these, or more if ``expected`` has.

    Where float32 holds every value exactly, the scale is the largest value.
    """
    largest = largest_finite(expected)
    return usual if largest <= usual else max(usual, rounded_scale(expected)) or largest


def tolerance(row: Row, noise_floor: float, scale: float) -> float:
    """Return ``k * max(noise floor, one float32 ulp of the output's scale)``.

    ``noise_floor`` is the largest absolute float32 error of the framework's own run at these
    lengths, ``scale`` the output's largest computed value at lengths like these. A runtime in full
    precision is allowed ``k`` of the scale alone.
    """
    if row.full_precision:
        return row.k * max(scale, float(np.finfo(np.float32).tiny))
    return row.k * max(noise_floor, one_ulp(scale))


def tolerances(row: Row, noise_floors: Array, expected: Array) -> Array:
    """Return the tolerance of each value: ``k * max(its noise floor, one float32 ulp of it)``.

    ``noise_floors`` are those of values of the same magnitude.
    """
    limits = np.finfo(np.float32)
    sizes = np.where(np.isfinite(expected), np.abs(expected), 0.0)
    sizes = np.clip(sizes, limits.tiny, limits.max / 2).astype(np.float32)
    return np.asarray(row.k * np.maximum(noise_floors, np.spacing(sizes).astype(np.float64)))
