"""The noise floor and the scale of an output at lengths like a case's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.core import bands
from harness.core.bands import MEANINGFUL, Bands
from harness.core.schema import Array, Arrays, Lengths
from harness.core.tolerance import one_ulp

DRAWS = 8
"""Float32 runs that measure a noise floor: the largest error of a single run is chance."""
JITTERED = 3
"""Float32 runs of a user model; the floor is that of many cases at like lengths together."""
NEARBY = 2.0**-18
"""By how much of their size weights are moved for another run with other rounding errors."""
ENOUGH = 8
"""The cases that a median or a largest value is taken of, at least."""


class Usual:
    """The cases of one golden: their lengths and, for each output, a figure of every case.

    ``noise`` holds largest absolute float32 errors, ``largest`` largest absolute values that
    were computed (``tolerance.rounded_scale``), ``by_band`` the errors by the values' magnitude,
    for the outputs whose errors were recorded so.
    """

    def __init__(
        self,
        cases: Sequence[Lengths],
        noise: Mapping[str, Sequence[float]],
        largest: Mapping[str, Sequence[float]],
        by_band: Mapping[str, Sequence[Bands]] | None = None,
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
        self._by_band = by_band or {}
        self._bands: dict[tuple[int, ...], dict[str, Array]] = {}
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

    def band_floors(self, lengths: Lengths) -> dict[str, Array]:
        """Return, for each output recorded so, the noise floor of a value in each band, [COUNT].

        It is the largest error of the values of that magnitude at lengths like these.
        """
        sizes = tuple(lengths[axis] for axis in self._axes)
        if sizes not in self._bands:
            near = np.flatnonzero(self._near(sizes)).tolist()
            self._bands[sizes] = {
                name: bands.floors(bands.merged(by_case[n] for n in near))
                for name, by_case in self._by_band.items()
            }
        return self._bands[sizes]

    def at_like_lengths(self, figures: Sequence[float], lengths: Lengths) -> float:
        """Return the largest of one figure of every case, at lengths like these."""
        near = self._near(tuple(lengths[axis] for axis in self._axes))
        return float(np.asarray(figures)[near].max())

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


def jittered(values: Arrays, draw: int) -> Arrays:
    """Return float32 arrays whose values are each moved by up to one ulp; draw 0 moves none.

    So a float32 run has other rounding errors, and one that shows how far it amplifies them,
    without a float64 run at the same values. Whole numbers stay: they are counts, marks or fills.
    """
    if draw == 0:
        return values
    return {name: _jittered(value, name, draw) for name, value in values.items()}


def _jittered(value: Array, name: str, draw: int) -> Array:
    rng = np.random.default_rng([draw, *name.encode()])
    moves = rng.integers(-1, 2, value.shape, np.int8)
    with np.errstate(invalid="ignore"):
        moved = value + moves * np.spacing(np.abs(value))
        return np.where(value == np.rint(value), value, moved).astype(value.dtype)


def nearby(parameters: Arrays, draw: int) -> Arrays:
    """Return the parameters, each moved by up to ``NEARBY`` of its size; draw 0 moves none."""
    if draw == 0:
        return parameters
    rng = np.random.default_rng(draw)
    return {
        name: (value * (1 + rng.uniform(-NEARBY, NEARBY, value.shape))).astype(value.dtype)
        for name, value in parameters.items()
    }
