"""Numbers by which a graph scales: the roots of a model's sizes, such as 1/√64, and what is off."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import isqrt

import numpy as np

from harness.core.schema import Array

FEW_ULPS = 4
LARGEST = 8192
"""The largest size of which roots are looked for"""
QUARTER = 0.25
"""The largest power of two that nothing but a root is"""
DIGITS = range(6, 10)
"""A square root may have been written down with so many significant digits; nobody writes fourth
ones, which attention takes of the size of a head."""


def off(value: Array, sizes: Collection[int]) -> str:
    """Return how a single float32 is beside a root of a size and not it; empty where it is not.

    Sizes are the dimensions of parameters and whatever divides them, as heads do. No honest way to
    compute such a root, in float32 or in float64, nor writing it down, gives a number this close to
    it that is none of ``ways``.
    """
    beside = _beside(value, sizes)
    return beside.text if beside and beside.sure else ""


def doubtful(value: Array, sizes: Collection[int]) -> NearRoot | None:
    """Return the root that a single float32 is beside, if something else has to tell; else None.

    It is the root in few decimals, or beside 1/2, 2 and so on, which are more than roots.
    """
    beside = _beside(value, sizes)
    return beside if beside and not beside.sure else None


@dataclass(frozen=True)
class NearRoot:
    """A number a few ulps beside a root; ``sure`` where nothing honest is there."""

    text: str
    exact: float
    sure: bool


def _beside(value: Array, sizes: Collection[int]) -> NearRoot | None:
    if value.dtype != np.float32 or value.size != 1:
        return None
    number = np.float32(value.reshape(())[()])
    if not np.isfinite(number) or number <= 0:
        return None
    for size in _divisors(sizes):
        for text, exact, computed in ways(size):
            ulps = abs(_place(number) - _place(np.float32(exact)))
            if 0 < ulps <= FEW_ULPS and number not in computed:
                decimals = {np.float32(f"{exact:.{digits}g}") for digits in DIGITS}
                which = "an ULP" if ulps == 1 else f"{ulps} ULP"
                told = f"is {number:.9g}, {which} beside {text} = {np.float32(exact):.9g}"
                whole = "√" in text and _power_of_two(size) and isqrt(size) ** 2 == size
                doubt = ("√" in text and number in decimals) or (whole and exact > QUARTER)
                return NearRoot(told, exact, not doubt)
    return None


def ways(size: int) -> Iterator[tuple[str, float, set[np.float32]]]:
    """Yield the roots of a size: a text, the exact value, and what float32 makes of it by any way.

    They are computed in float64 and rounded, or step by step in float32. Whole roots are left out,
    for 0.1 and 3 come from elsewhere; but for powers of two.
    """
    n, one = np.float32(size), np.float32(1)
    root = np.sqrt(n)
    fourth = np.sqrt(root)
    steps = {
        f"√{size}": (0.5, [root, n * (one / root), one / np.sqrt(one / n)]),
        f"1/√{size}": (-0.5, [one / root, np.sqrt(one / n), root / n]),
        f"∜{size}": (0.25, [fourth, one / np.sqrt(one / root)]),
        f"1/∜{size}": (-0.25, [one / fourth, np.sqrt(one / root), np.sqrt(np.sqrt(one / n))]),
    }
    for text, (power, values) in steps.items():
        exact, square = size**power, abs(power) == 0.5
        if isqrt(size) ** 2 == size and not (square and _power_of_two(size)):
            continue
        yield text, exact, {np.float32(exact), np.power(n, np.float32(power)), *values}


def _divisors(sizes: Collection[int]) -> list[int]:
    dims = {size for size in sizes if 1 < size <= LARGEST}
    return sorted({n for dim in dims for n in range(2, dim + 1) if dim % n == 0})


def _power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


def _place(number: np.float32) -> int:
    """Return the place of a positive number among all float32."""
    return int(number.view(np.int32))
