"""The cases of one cell in several reports as one sequence: each case once, the worse of two."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from harness.core.results import CaseResult, Status
from harness.core.schema import Array
from harness.reports.stored import Cases

RANK = (
    Status.UNAVAILABLE,
    Status.PASS,
    Status.XFAIL,
    Status.XPASS,
    Status.FAIL,
    Status.ERROR,
)
"""From the least to the worst: a cell unavailable on one machine may be judged on another."""
_KEY_BYTES = 16


class UnitedCases(Cases):
    """Cases of several sequences: ``chosen`` holds places in all of them, one after another."""

    __slots__ = ("_chosen", "_ends", "_parts")

    def __init__(self, parts: Sequence[Sequence[CaseResult]], chosen: Array) -> None:
        self._parts = parts
        self._chosen = chosen
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return len(self._chosen)

    def at(self, number: int) -> CaseResult:
        place = int(self._chosen[number])
        part = bisect_right(self._ends, place)
        return self._parts[part][place - self._ends[part]]  # counted from the part's end


def united(parts: Sequence[Sequence[CaseResult]]) -> tuple[Sequence[CaseResult], list[float]]:
    """Return each case of all parts once, in the order of the first of each, and the worst ratios.

    Of one case that is there several times the worst counts. The ratios are those of the parts.
    """
    keys, ranks, ratios, worst = bytearray(), array("b"), array("d"), []
    for cases in parts:
        first = len(ratios)
        for result in cases:
            case = result.case
            key = f"{case.id}\0{case.repeat}\0{result.relation}".encode(errors="surrogatepass")
            keys += hashlib.blake2b(key, digest_size=_KEY_BYTES).digest()
            ranks.append(RANK.index(result.status))
            ratios.append(max((output.ratio for output in result.outputs), default=0.0))
        worst.append(max(ratios[first:], default=0.0))
    chosen = _chosen(np.frombuffer(keys, np.uint64).reshape(-1, 2), ranks, ratios)
    if len(parts) == 1 and len(chosen) == len(parts[0]):
        return parts[0], worst
    return UnitedCases(tuple(parts), chosen), worst


def _chosen(keys: Array, ranks: array[int], ratios: array[float]) -> Array:
    """Return the places of the worst of each key, in the order of each key's first place."""
    if not len(keys):
        return np.zeros(0, np.uint32)
    bad = -np.frombuffer(ratios), -np.frombuffer(ranks, np.int8)
    order = np.lexsort((*bad, keys[:, 0], keys[:, 1]))
    starts = np.flatnonzero(np.r_[True, (keys[order[1:]] != keys[order[:-1]]).any(axis=1)])
    return np.asarray(order[starts][np.argsort(np.minimum.reduceat(order, starts))], np.uint32)
