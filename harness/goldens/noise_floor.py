"""How far float32 errs at lengths like a case's, how that is measured, and how large values are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from harness.core.schema import Arrays, Lengths

DRAWS = 8
"""Float32 runs that a noise floor is measured by: one run's largest error is a matter of luck"""
NEARBY = 2.0**-18
"""By how much of their size weights are moved for a run that draws the rounding anew"""
MEANINGFUL = 1e-3
"""The largest noise, as a part of the output's scale, at which a comparison means something"""
ENOUGH = 8
"""What fewer cases show is luck"""


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
        self._known: dict[tuple[int, ...], list[int]] = {}

    def noise_floor(self, output: str, lengths: Lengths) -> float:
        """The largest float32 error of ``output`` in any case of these lengths.

        Where that is less than is usual (the median) at lengths like these, it is luck, and the
        usual counts; so it does where no case has these lengths.
        """
        near, noise = self._near(lengths), self._noise[output]
        here = [noise[i] for i in near if self._cases[i] == lengths]
        return max([*here, median(noise[i] for i in near)])

    def scale(self, output: str, lengths: Lengths) -> float:
        """The largest value of ``output`` at lengths like these.

        One case may hold only small values of an output that is not small, and what computes them
        rounds at the output's scale.
        """
        return max(self._largest[output][i] for i in self._near(lengths))

    def _near(self, lengths: Lengths) -> list[int]:
        """The cases whose lengths are all within a factor of two, or four and so on up to
        ``ENOUGH`` cases.
        """
        asked = tuple(lengths[axis] for axis in self._axes)
        if asked not in self._known:
            less, more = np.minimum(self._sizes, asked), np.maximum(self._sizes, asked)
            # the least n for which more <= less * 2**n is the number of bits of (more - 1) // less
            octaves = np.frexp((more - 1) // less)[1].max(axis=1, initial=1)
            within = np.sort(octaves)[min(ENOUGH, len(octaves)) - 1]
            self._known[asked] = np.flatnonzero(octaves <= within).tolist()
        return self._known[asked]


def nearby(parameters: Arrays, draw: int) -> Arrays:
    """Return the parameters, each moved by up to ``NEARBY`` of its size; draw 0 moves none."""
    if draw == 0:
        return parameters
    rng = np.random.default_rng(draw)
    return {
        name: (value * (1 + rng.uniform(-NEARBY, NEARBY, value.shape))).astype(value.dtype)
        for name, value in parameters.items()
    }
