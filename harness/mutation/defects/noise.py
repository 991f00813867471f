"""Noise of a known size at one step of one output."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from harness.core.schema import Array, Arrays, Session, TensorSpec
from harness.mutation.defects.defect import Mutant, Specimen

FLOORS = (100.0, 64.0, 32.0, 16.0, 12.0, 10.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)
POSITIONS: dict[str, Callable[[int], int]] = {
    "first": lambda steps: 0,
    "middle": lambda steps: steps // 2,
    "last": lambda steps: steps - 1,
}


def noise_at_one_step(subject: Specimen) -> Iterator[Mutant]:
    """One value of an output at one step is off by a number of noise floors."""
    if subject.unit is None:
        return
    for tensor in subject.spec.outputs:
        for position in [None] if tensor.step_axis is None else POSITIONS:
            for size in FLOORS:
                wrap = partial(_Noisy, subject.unit, tensor, position, size)
                where = tensor.name if position is None else f"{tensor.name} {position} step"
                yield Mutant(where, wrap=wrap, size=size)


class _Noisy:
    """A session that adds ``size`` noise floors, up or down, to one value of one output.

    The row, the feature and the sign are drawn by the inputs alone.
    """

    def __init__(
        self,
        unit: Callable[[str, Arrays], float],
        tensor: TensorSpec,
        position: str | None,
        size: float,
        session: Session,
    ) -> None:
        self._unit, self._tensor, self._position, self._size = unit, tensor, position, size
        self._session = session

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        return [
            (name, self._noisy(value, inputs) if name == self._tensor.name else value)
            for name, value in self._session.run(inputs)
        ]

    def evidence(self) -> dict[str, Any]:
        return self._session.evidence()

    def _noisy(self, value: Array, inputs: Arrays) -> Array:
        if not value.size:
            return value
        drawn = np.random.default_rng(_seed(inputs))
        index = [int(drawn.integers(size)) for size in value.shape]
        axis = self._tensor.step_axis
        if axis is not None and self._position is not None:
            index[axis] = POSITIONS[self._position](value.shape[axis])
        noise = drawn.choice([-1.0, 1.0]) * self._size * self._unit(self._tensor.name, inputs)
        changed = value.copy()
        changed[tuple(index)] = np.float64(value[tuple(index)]) + noise
        return changed


def _seed(inputs: Arrays) -> list[int]:
    """Return the same seed for the same inputs, in any process."""
    return [zlib.crc32(np.ascontiguousarray(value).tobytes()) for value in inputs.values()]
