"""Inputs as a formula: the same bits on every platform, without storing them.

The pseudo-random bits are SplitMix64 (Steele, Lea and Flood, 2014) of a counter, so that a value
depends on the seed and its place alone and not on a library's generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.schema import Array, Raggedness

Formula = Mapping[str, Any]


def bits(seed: int, count: int) -> NDArray[np.uint64]:
    """``count`` pseudo-random 64-bit words of the stream ``seed``."""
    golden_ratio = np.uint64(0x9E3779B97F4A7C15)
    start = np.uint64((seed * 0xD1342543DE82EF95 + 1) % 2**64)
    z = start + np.arange(1, count + 1, dtype=np.uint64) * golden_ratio
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def valid_steps(raggedness: Raggedness, counts: Sequence[int], steps: int, seed: int) -> Array:
    """Which steps hold data, [batch, steps] bool: ``counts`` steps of each row.

    They stand first (``right`` and ``empty``), last (``left``) or in places that ``seed`` chooses
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
    """The array that ``formula`` stands for.

    ``{"constant": value}`` fills the shape. ``{"seed", "low", "high"}`` draws uniformly from
    [low, high), floats on a grid of 2**-24 of the range; with ``"counts"`` and ``"raggedness"``,
    0 marks the padded steps of axis 1.
    """
    if "constant" in formula:
        return np.full(shape, formula["constant"], dtype)
    seed, low, high = formula["seed"], formula["low"], formula["high"]
    words = bits(seed, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    if np.issubdtype(np.dtype(dtype), np.integer):
        offsets = ((words >> np.uint64(11)) % np.uint64(high - low)).astype(np.int64)
        values = (int(low) + offsets).astype(dtype)
    else:
        unit = (words >> np.uint64(40)).astype(np.float64) * 2.0**-24
        values = (low + (high - low) * unit).astype(dtype)
    if "counts" in formula:
        raggedness = Raggedness(formula["raggedness"])
        values *= valid_steps(raggedness, formula["counts"], shape[1], seed + 1).astype(dtype)
    return np.asarray(values)
