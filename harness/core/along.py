"""The error along an output's time axis: the largest in each of a few stretches of its steps."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from harness.core.schema import Array

STRETCHES = 64
"""The most stretches of one output: stretch k of n begins at step k * steps // n."""
DIGITS = 2

Along = tuple[float | None, ...]
"""Errors over their tolerance, to two digits; None where no finite value was compared."""


def along(
    ratios: Array, axis: int | None, places: Sequence[int] | Array | None, steps: int
) -> Along:
    """Return the largest ratio in each stretch of ``steps``; nothing where there are not two.

    ``places`` are the steps that ``ratios`` has, where that is not all. NaN is where nothing finite
    was compared, and hides the other values of its step.
    """
    if axis is None or steps < 2 or not ratios.size:
        return ()
    by_step = ratios.max(axis=tuple(i for i in range(ratios.ndim) if i != axis))
    count = min(steps, STRETCHES)
    at = np.arange(steps) if places is None else np.asarray(places)
    worst = np.full(count, -1.0)
    np.fmax.at(worst, ((at + 1) * count - 1) // steps, by_step)
    return tuple(None if one < 0 else _rounded(one) for one in worst.tolist())


def larger(one: Along, other: Along) -> Along:
    """Return the larger of two at each stretch; of different numbers of stretches, the first."""
    if len(one) != len(other):
        return one
    pairs = zip(one, other, strict=True)
    return tuple(b if a is None else a if b is None else max(a, b) for a, b in pairs)


def _rounded(number: float) -> float:
    return min(float(f"{number:.{DIGITS}g}"), sys.float_info.max)
