"""One number for each row and step of an output, from which an error at any place of it shows.

A golden stores a few steps of a large output, and of every step the sum of its values, each times
a weight of its own: an error of one value moves the sum by half of itself or more, and two errors
do not cancel but by chance. Values much larger than the others, such as fills, are pressed together
first, so that their rounding hides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.schema import BATCH, Array, TensorSpec


@dataclass(frozen=True)
class Projection:
    """The sums of an output, [rows, steps], and the noise floor of a sum.

    A value x counts as x / (1 + |x| / squash): little less where it is much smaller than
    ``squash``, never more than it. Sums of integers are exact, modulo 2**64.
    """

    sums: Array
    squash: float
    noise: float

    @property
    def steps(self) -> int:
        return int(self.sums.shape[1])


def projected(tensor: TensorSpec, value: Array, squash: float) -> Array:
    """Return the sums of an output at every step, [rows, steps]; one row where it has no batch.

    NaN counts as no value of the output's can.
    """
    axis = tensor.step_axis
    assert axis is not None
    rows = [place for place, name in enumerate(tensor.axes) if name == BATCH]
    moved = np.moveaxis(value, [*rows, axis], [*range(len(rows)), len(rows)])
    steps = moved.reshape(moved.shape[0] if rows else 1, value.shape[axis], -1)
    weights = _weights(steps.shape[2])
    if value.dtype.kind != "f":
        whole = (weights * 2.0**32).astype(np.int64) | 1
        return np.stack([(row.astype(np.int64) * whole).sum(axis=1) for row in steps])
    return np.stack([_squashed(row, squash) @ weights for row in steps])


def _weights(count: int) -> Array:
    """Return numbers of 0.5 to 1.5 with either sign, the same on every platform."""
    places = np.arange(1, count + 1, dtype=np.float64)
    sizes = 0.5 + (places * np.sqrt(5.0)) % 1.0
    return np.asarray(np.where((places * np.sqrt(2.0)) % 1.0 < 0.5, sizes, -sizes))


def _squashed(values: Array, squash: float) -> Array:
    wide = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        pressed = wide / (1 + np.abs(wide) / squash)
    infinite = np.isinf(wide)
    if infinite.any():
        pressed[infinite] = np.copysign(squash, wide[infinite])
    pressed[np.isnan(wide)] = 2 * squash
    return np.asarray(pressed)
