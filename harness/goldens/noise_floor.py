"""The noise floor and the scale of an output at lengths like a case's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.core.schema import Array, Arrays, Lengths
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
        self._axes = tuple(cases[0])
        every = np.array([[lengths[axis] for axis in self._axes] for lengths in cases], np.int64)
        self._sizes, self._group, counts = np.unique(
            every.reshape(len(cases), len(self._axes)),
            axis=0,
            return_inverse=True,
            return_counts=True,
        )
        self._group, self._counts = self._group.reshape(-1), counts
        self._outputs = list(noise)
        self._noise = np.array([noise[name] for name in self._outputs])
        self._largest = np.array([largest[name] for name in self._outputs])
        self._floors: dict[tuple[int, ...], dict[str, float]] = {}
        self._scales: dict[tuple[int, ...], dict[str, float]] = {}

    def noise_floor(self, output: str, lengths: Lengths) -> float:
        """Return the largest float32 error of ``output`` in any case of these lengths.

        It is at least the median at lengths like these: a smaller error is chance.
        """
        return self._of(lengths)[0][output]

    def scale(self, output: str, lengths: Lengths) -> float:
        """Return the largest value of ``output`` at lengths like these.

        One case may hold only small values of an output that is not small, and what computes them
        rounds at the output's scale.
        """
        return self._of(lengths)[1][output]

    def _of(self, lengths: Lengths) -> tuple[dict[str, float], dict[str, float]]:
        """Return both figures of every output, the same for all cases of the same lengths."""
        sizes = tuple(lengths[axis] for axis in self._axes)
        if sizes not in self._floors:
            near = self._near(sizes)
            here = (self._sizes == sizes).all(axis=1)[self._group]
            ordered = np.sort(self._noise[:, near], axis=1)  # np.median imports much
            middle = ordered.shape[1] - 1
            usual = ordered[:, middle // 2] / 2 + ordered[:, (middle + 1) // 2] / 2
            floors = np.maximum(self._noise[:, here].max(axis=1, initial=0), usual)
            scales = self._largest[:, near].max(axis=1)
            self._floors[sizes] = dict(zip(self._outputs, floors.tolist(), strict=True))
            self._scales[sizes] = dict(zip(self._outputs, scales.tolist(), strict=True))
        return self._floors[sizes], self._scales[sizes]

    def _near(self, sizes: tuple[int, ...]) -> Array:
        """Return which cases have lengths that are all within a factor of two, or the next power
        of two that gives ``ENOUGH`` cases.
        """
        mine = np.maximum(np.asarray(sizes, np.int64), 1)
        less, more = np.minimum(self._sizes, mine), np.maximum(self._sizes, mine)
        # the least n for which more <= less * 2**n is the number of bits of (more - 1) // less
        octaves = np.frexp((more - 1) // np.maximum(less, 1))[1].max(axis=1, initial=1)
        order = np.argsort(octaves, kind="stable")
        cases = np.cumsum(self._counts[order])
        within = octaves[order][np.searchsorted(cases, min(ENOUGH, int(cases[-1])))]
        return np.asarray((octaves <= within)[self._group])


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
