"""Inputs as formulas, which give the same bits on every platform.

The pseudo-random bits are SplitMix64 (Steele, Lea and Flood, 2014) of a counter, so that a value
depends on the seed and its place alone and not on a library's generator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.schema import Array, Raggedness, causal_mask

Formula = Mapping[str, Any]
_BLOCK = 2**14
"""Words at a time, few enough to stay in a core's cache."""
MOST_PERMUTED = 2**32
"""The most integers of a range that is drawn from without replacement."""
MOST_ENDS = 8
RUN = 3
"""Steps that hold one value where values are repeated."""
_ENDS, _NAN, _ONE, _OTHER, _EACH, _ROUNDS = 1, 2, 3, 4, 5, 4
_LAST = 1 - 2.0**-24
"""The largest of the numbers that are drawn from [0, 1)."""


def bits(seed: int, count: int) -> NDArray[np.uint64]:
    """Return ``count`` pseudo-random 64-bit words of the stream ``seed``."""
    words = np.empty(count, np.uint64)
    for place, block in _blocks(seed, count):
        words[place] = block
    return words


def _blocks(seed: int, count: int) -> Iterator[tuple[slice, NDArray[np.uint64]]]:
    """Yield the words of ``bits`` in blocks, each with its place."""
    start = np.uint64((seed * 0xD1342543DE82EF95 + 1) % 2**64)
    for first in range(0, count, _BLOCK):
        last = min(first + _BLOCK, count)
        z = np.arange(first + 1, last + 1, dtype=np.uint64)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z += start
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z ^= z >> np.uint64(shift)
            z *= np.uint64(factor)
        z ^= z >> np.uint64(31)
        yield slice(first, last), z


def valid_steps(raggedness: Raggedness, counts: Sequence[int], steps: int, seed: int) -> Array:
    """Return which steps hold data, [batch, steps] bool: ``counts`` steps of each row.

    They come first (``right`` and ``empty``), last (``left``) or in places that ``seed`` chooses
    (``gapped``).
    """
    place = np.broadcast_to(np.arange(steps), (len(counts), steps))
    if raggedness is Raggedness.LEFT:
        place = place[:, ::-1]
    elif raggedness is Raggedness.GAPPED:
        order = bits(seed, len(counts) * steps).reshape(len(counts), steps)
        place = order.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return np.asarray(place < np.asarray(counts)[:, None])


def evaluate(formula: Formula, shape: Sequence[int], dtype: str) -> Array:
    """Return the array of a formula.

    ``{"constant": value}`` fills the shape; ``{"each": values}`` is one value for each row.
    ``{"seed", "low", "high"}`` draws uniformly from [low, high), floats on a grid of 2**-24 of the
    range; with ``"normal"``, each float is the mean of twelve such draws (Irwin and Hall: a
    standard deviation of a twelfth of the range), whose sum is exact on every platform; with
    ``"whole"`` floats are drawn as integers. With ``"counts"`` and ``"raggedness"``, the padded
    steps of axis 1 hold ``"padding"``, or 0; in ``{"valid", "seed", "counts", "raggedness"}`` they
    are 0 and all others 1, or as the two ``"marks"`` of valid and padded ones say. With
    ``"causal"`` a query, of the last axis but one, sees the keys of the last axis that are not
    later, of which the last is its own. With ``"time_first"`` the steps are axis 0 and the batch is
    axis 1. ``"places"`` is the seed of a gapped case's places where inputs share
    them.

    With ``"permuted"``, a seed, integers are drawn without replacement: the valid steps hold the
    values from place ``"first"`` on of a permutation of the range, which begins again at its end.
    With ``"ends"`` about half of the values are some of those listed. With ``"runs"`` values repeat
    along axis 1: the first row has one alone, others have runs of ``RUN`` steps. With ``"nan"`` one
    of eight steps is NaN in every second row, all of it or some of its features. With ``"spread"``
    the values of each row, at each place of the axes after the steps, are of one part of the range
    (``bands``), or one value of it (``corners``: of floats its low or high end).
    """
    if "constant" in formula:
        return np.full(shape, formula["constant"], dtype)
    if "each" in formula:
        return np.asarray(formula["each"], dtype).reshape(shape)
    if formula.get("causal"):
        return causal_mask(tuple(shape), formula.get("marks") or (1, 0), dtype)
    if formula.get("time_first"):
        swapped = evaluate(
            {**formula, "time_first": False}, (shape[1], shape[0], *shape[2:]), dtype
        )
        return np.ascontiguousarray(swapped.swapaxes(0, 1))
    if "valid" in formula:
        marks = (np.asarray(mark).astype(dtype) for mark in formula.get("marks") or (1, 0))
        return np.where(_valid(formula, shape), *marks)
    padded = ~_valid(formula, shape) if "counts" in formula else None
    if formula.get("spread"):
        values = _spread(formula, shape, dtype)
    elif formula.get("permuted") is not None:
        values = _permuted(formula, shape, dtype, padded)
    else:
        values = _drawn(formula, shape, dtype)
    if formula.get("ends"):
        _put_ends(values, formula)
    if formula.get("runs"):
        steps = np.arange(shape[1])
        values[1:] = values[1:, steps - steps % RUN]
        values[:1] = values[:1, :1]
    if formula.get("nan"):
        _put_nan(values[1::2], 2 * formula["seed"] + _NAN)
    if padded is not None:
        np.copyto(values, np.asarray(formula.get("padding", 0)).astype(dtype), where=padded)
    return values


def _valid(formula: Formula, shape: Sequence[int]) -> Array:
    """Return whether each element of ``shape`` is at a valid step of axis 1, broadcast."""
    seed = formula.get("places", formula["seed"]) + 1
    raggedness = Raggedness(formula["raggedness"])
    steps = valid_steps(raggedness, formula["counts"], shape[1], seed)
    return np.broadcast_to(steps.reshape(*steps.shape, *[1] * (len(shape) - 2)), shape)


def permutation(seed: int, size: int, places: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return what a permutation of 0..``size`` - 1 has at some places.

    It is a Feistel network of the next larger power of four, walked until the value lies below
    ``size``, so that it needs no table.
    """
    half = np.uint64(max(-(-(size - 1).bit_length() // 2), 1))
    low = np.uint64((1 << int(half)) - 1)
    keys = bits(seed, _ROUNDS)

    def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values >> half, values & low
        for key in keys:
            hashed = (right ^ key) * np.uint64(0xBF58476D1CE4E5B9)
            hashed = (hashed ^ (hashed >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
            left, right = right, left ^ ((hashed ^ (hashed >> np.uint64(32))) & low)
        return (left << half) | right

    values = mixed(places)
    while (outside := values >= np.uint64(size)).any():
        values[outside] = mixed(values[outside])
    return values


def _permuted(formula: Formula, shape: Sequence[int], dtype: str, padded: Array | None) -> Array:
    low, size = int(formula["low"]), int(formula["high"]) - int(formula["low"])
    read = np.ones(shape, bool) if padded is None else ~padded
    drawn = np.empty(np.count_nonzero(read), dtype)
    first = formula.get("first", 0) % size
    for start in range(0, drawn.size, _BLOCK):
        stop = min(start + _BLOCK, drawn.size)
        places = (first + np.arange(start, stop, dtype=np.uint64)) % np.uint64(size)
        found = permutation(formula["permuted"], size, places)
        drawn[start:stop] = (low + found.astype(np.int64)).astype(dtype)
    values = np.zeros(shape, dtype)
    values[read] = drawn
    return values


def _put_nan(rows: Array, seed: int) -> None:
    steps = bits(seed, rows.shape[0] * rows.shape[1]).reshape(
        *rows.shape[:2], *[1] * (rows.ndim - 2)
    )
    each = bits(seed + _EACH, rows.size).reshape(rows.shape)
    some = (each | steps << np.uint64(3)) >> np.uint64(63) == 1
    rows[(steps >> np.uint64(61) == 0) & some] = np.nan


def _spread(formula: Formula, shape: Sequence[int], dtype: str) -> Array:
    """Return values of which those along axis 1 are alike."""
    low, span, seed = formula["low"], formula["high"] - formula["low"], 2 * formula["seed"]
    count = int(np.prod(shape, dtype=np.int64))
    row, features = (int(np.prod(shape[axis:], dtype=np.int64)) for axis in (1, 2))
    features = features if len(shape) > 1 else 1
    among = shape[0] * features if shape else 1
    one, other = (_unit(bits(seed + number, among)) for number in (_ONE, _OTHER))
    whole = formula.get("whole") or np.dtype(dtype).kind in "iu"
    values = np.empty(count, dtype)
    for place, words in _blocks(seed, count):
        flat = np.arange(place.start, place.stop)
        alike = flat // row * features + flat % features
        if formula["spread"] == "bands":
            part = one[alike] + (other[alike] - one[alike]) * _unit(words)
        else:
            part = one[alike] if whole else (one[alike] >= 0.5) * _LAST
        values[place] = np.floor(low + span * part) if whole else low + span * part
    return values.reshape(shape)


def _put_ends(values: Array, formula: Formula) -> None:
    ends, flat = np.asarray(formula["ends"]).astype(values.dtype), values.reshape(-1)
    for place, words in _blocks(2 * formula["seed"] + _ENDS, flat.size):
        which = (words >> np.uint64(8)) % np.uint64(len(ends))
        flat[place] = np.where(words >> np.uint64(63) == 0, ends[which], flat[place])


def _drawn(formula: Formula, shape: Sequence[int], dtype: str) -> Array:
    seed, low, high = formula["seed"], formula["low"], formula["high"]
    count = int(np.prod(shape, dtype=np.int64))
    if formula.get("whole") or np.issubdtype(np.dtype(dtype), np.integer):
        offsets = ((bits(seed, count) >> np.uint64(11)) % np.uint64(high - low)).astype(np.int64)
        return (int(low) + offsets).astype(dtype).reshape(shape)
    if np.dtype(dtype) == bool:
        return (bits(seed, count) >> np.uint64(63)).astype(bool).reshape(shape)
    values = np.empty(count, dtype)
    if formula.get("normal"):
        sums = np.zeros(count)
        for place, words in _blocks(seed, 12 * count):
            places = np.arange(place.start, place.stop) % count
            np.add.at(sums, places, _unit(words))
        return np.asarray(low + (high - low) * (sums / 12)).astype(dtype).reshape(shape)
    for place, words in _blocks(seed, count):
        values[place] = low + (high - low) * _unit(words)
    return values.reshape(shape)


def _unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return words as numbers from [0, 1)."""
    return (words >> np.uint64(40)).astype(np.float64) * 2.0**-24
