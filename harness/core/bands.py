"""Bands of magnitude: values of an output that rounding moves alike, told apart by their size.

A band holds the values from a power of 8 to the next. An output may hold scores of about 1 beside
fills of -1e9; what rounding does to the fills says nothing of the scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from harness.core.schema import Array
from harness.core.tolerance import one_ulp

LOWEST, HIGHEST = -43, 42
"""The bands of the smallest float32 above 0, and of the largest."""
COUNT = HIGHEST - LOWEST + 1
ENOUGH_VALUES = 64
"""The values whose largest error is a noise floor; that of fewer is chance."""
NEIGHBOURS = 3
"""The most bands that a band with few values looks up or down for more of them."""
MEANINGFUL = 1e-3
"""The largest noise, as a part of the scale, at which a comparison means something."""
NEAR_ULP = 256
"""How far the noise of differences of large values may lie from one ulp of those."""
Bands = Mapping[int, tuple[int, float]]
"""For each band that has values: how many, and the largest error among them."""


def band_of(values: Array) -> Array:
    """Return the place of each value's band, from 0 to ``COUNT - 1``; float64 in, integers out.

    Zeros, and what is not finite, are with the smallest.
    """
    exponents = np.frexp(values)[1]
    places = (exponents - 1) // 3 - LOWEST
    np.clip(places, 0, COUNT - 1, out=places)
    return np.where(np.isfinite(values) & (values != 0), places, 0)


def measured(expected: Array, error: Array) -> dict[int, tuple[int, float]]:
    """Return the bands of the ``expected`` values, with the largest ``error`` in each.

    Zeros count with the smallest values that there are, for what computes them rounds as theirs
    does.
    """
    finite = np.isfinite(expected)
    values, errors = expected[finite], error[finite]
    zero = values == 0
    places = band_of(values)
    lowest = int(places[~zero].min(initial=COUNT - 1)) if not zero.all() else 0
    places[zero] = lowest
    counts = np.bincount(places[~zero], minlength=COUNT)
    largest = np.zeros(COUNT)
    np.maximum.at(largest, places, errors)
    used = np.flatnonzero((counts > 0) | (largest > 0))
    return {int(p) + LOWEST: (int(counts[p]), float(largest[p])) for p in used}


def merged(several: Iterable[Bands]) -> dict[int, tuple[int, float]]:
    """Return the bands of several sets of values together."""
    result: dict[int, tuple[int, float]] = {}
    for bands in several:
        for band, (count, largest) in bands.items():
            before, noise = result.get(band, (0, 0.0))
            result[band] = before + count, max(noise, largest)
    return result


def floors(bands: Bands) -> Array:
    """Return the noise floor of a value in each band, [COUNT].

    A band with fewer than ``ENOUGH_VALUES`` values takes those of its neighbours too, the next
    larger one first. A value smaller than all that were measured has the floor of the smallest,
    one between two groups that of the group below it, or else above.
    """
    counts, largest = np.zeros(COUNT, np.int64), np.zeros(COUNT)
    for band, (count, noise) in bands.items():
        counts[band - LOWEST], largest[band - LOWEST] = count, noise
    result = np.full(COUNT, np.nan)
    for place in np.flatnonzero((counts > 0) | (largest > 0)):
        count, floor = counts[place], largest[place]
        for apart in range(1, NEIGHBOURS + 1):
            for near in (place + apart, place - apart):
                if count < ENOUGH_VALUES and 0 <= near < COUNT:
                    count, floor = count + counts[near], max(floor, largest[near])
        result[place] = floor
    known = np.flatnonzero(~np.isnan(result))
    if not len(known):
        return np.zeros(COUNT)
    below = np.searchsorted(known, np.arange(COUNT), side="right") - 1
    return np.asarray(result[known[np.maximum(below, 0)]])


def drowned(bands: Bands) -> tuple[float, float] | None:
    """Return the noise and the scale of values that rounding moves by more than ``MEANINGFUL``.

    Bands that lie near each other are one group, whose scale is the upper end of its highest band;
    the group with the most values is judged, for a fill far above them says nothing of them. None
    where it is moved less, or by about what float32 resolves at the scale of a larger group:
    differences of large values may be all but zero.
    """
    found = _groups(bands)
    if not found:
        return None
    _, noise, scale = max(found)
    if noise <= MEANINGFUL * max(scale, one_ulp(scale)):
        return None
    for _, _, larger in found:
        if larger > scale and NEAR_ULP * noise >= one_ulp(larger) >= noise / NEAR_ULP:
            return None
    return noise, scale


def scale_of_most(bands: Bands) -> float:
    """Return the scale of the group with the most values; 1 where there is none."""
    return max(_groups(bands), default=(0, 0.0, 1.0))[2]


def _groups(bands: Bands) -> list[tuple[int, float, float]]:
    """Return the number of values, the noise and the scale of each group of near bands."""
    result: list[tuple[int, float, float]] = []
    previous = None
    for band in sorted(bands):
        count, noise = bands[band]
        if previous is not None and band - previous <= NEIGHBOURS:
            before = result.pop()
            count, noise = count + before[0], max(noise, before[1])
        result.append((count, noise, min(8.0 ** (band + 1), float(np.finfo(np.float32).max))))
        previous = band
    return result
