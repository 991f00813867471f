"""The noise floor and the scale of an output at lengths like a case's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from harness.core.schema import Arrays, Lengths
from harness.core.tolerance import one_ulp

DRAWS = 8
"""Float32 runs that measure a noise floor: the largest error of a single run is chance."""
NEARBY = 2.0**-18
"""By how much of their size weights are moved for another run with other rounding errors."""
MEANINGFUL = 1e-3
"""The largest noise, as a part of the output's scale, at which a comparison means something."""
ENOUGH = 8
"""The cases that a median or a largest value is taken of, at least."""


class Usual:
    """The cases of one golden: their lengths and, for each output, a figure of every case.

    ``noise`` holds largest absolute float32 errors, ``largest`` largest absolute values that
    were computed (``tolerance.rounded_scale``).
    """

    def __init__(
        self,
        cases: Sequence[Lengths],
        noise: Mapping[str, Sequence[float]],
        largest: Mapping[str, Sequence[float]],
    ) -> None:
        self._cases = [dict(lengths) for lengths in cases]
        self._noise, self._largest = noise, largest
        self._axes = tuple(cases[0])
        self._sizes = np.array([[lengths[axis] for axis in self._axes] for lengths in cases])
        self._near_sizes: dict[tuple[int, ...], list[int]] = {}

    def noise_floor(self, output: str, lengths: Lengths) -> float:
        """Return the largest float32 error of ``output`` in any case of these lengths.

        It is at least the median at lengths like these: a smaller error is chance.
        """
        near, noise = self._near(lengths), self._noise[output]
        here = [noise[i] for i in near if self._cases[i] == lengths]
        return max([*here, median(noise[i] for i in near)])

    def scale(self, output: str, lengths: Lengths) -> float:
        """Return the largest value of ``output`` at lengths like these.

        One case may hold only small values of an output that is not small, and what computes them
        rounds at the output's scale.
        """
        return max(self._largest[output][i] for i in self._near(lengths))

    def _near(self, lengths: Lengths) -> list[int]:
        """Return the cases whose lengths are all within a factor of two, or the next power of two
        that gives ``ENOUGH`` cases.
        """
        sizes = tuple(lengths[axis] for axis in self._axes)
        if sizes not in self._near_sizes:
            less, more = np.minimum(self._sizes, sizes), np.maximum(self._sizes, sizes)
            # the least n for which more <= less * 2**n is the number of bits of (more - 1) // less
            octaves = np.frexp((more - 1) // less)[1].max(axis=1, initial=1)
            within = np.sort(octaves)[min(ENOUGH, len(octaves)) - 1]
            self._near_sizes[sizes] = np.flatnonzero(octaves <= within).tolist()
        return self._near_sizes[sizes]


def drowns(noise: float, scale: float) -> bool:
    """Return whether rounding moves an output by more than ``MEANINGFUL`` of its scale."""
    return not noise <= MEANINGFUL * max(scale, one_ulp(scale))


def nearby(parameters: Arrays, draw: int) -> Arrays:
    """Return the parameters, each moved by up to ``NEARBY`` of its size; draw 0 moves none."""
    if draw == 0:
        return parameters
    rng = np.random.default_rng(draw)
    return {
        name: (value * (1 + rng.uniform(-NEARBY, NEARBY, value.shape))).astype(value.dtype)
        for name, value in parameters.items()
    }
