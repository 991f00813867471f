"""A value that follows from parameters, and the names that belong together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.core.schema import Array

EPSILONS = (1e-5, 1e-3, 1e-6, 1e-8, 1e-12, 1e-7, 1e-4, 1e-2, 0.0)
CLOSE = 2.0**-22
"""The rounding of a sum, of the sum of its terms' magnitudes."""


@dataclass(frozen=True, eq=False)
class Derived:
    """A value in float64 that follows from parameters.

    ``make`` returns it and how far rounding may move it beyond one ulp of the result, which sums
    that cancel need; ``few`` its elements at some indices. It is ``open`` where a number in it,
    such as an epsilon, was guessed: then all of a channel of the axis ``channel`` may be off.
    """

    formula: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    make: Callable[[], tuple[Array, Array | float]]
    few: Callable[[tuple[Array, ...]], Array] | None = None
    open: bool = False
    channel: int | None = None


def given(
    formula: str,
    sources: Sequence[str],
    value: Array,
    error: Array | float = 0.0,
    guessed: bool = False,
) -> Derived:
    shape = value.shape
    return Derived(formula, tuple(sources), shape, lambda: (value, error), open=guessed)


def layer(name: str) -> str:
    """Return what the names of one layer's, and one direction's, parameters have in common."""
    *parents, last = parts(name)
    own = re.search(r"_l\d+(_reverse)?$", last)
    return "/".join(parents) + (own.group() if own else "")


def parts(name: str) -> list[str]:
    return re.split(r"[./]", name)
