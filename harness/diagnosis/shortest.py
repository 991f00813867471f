"""The shortest length, and there the smallest batch, at which a cell fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from harness.core.schema import Case, Raggedness
from harness.diagnosis.probing import Probe

EACH = 16
"""Every length up to this one is tried; beyond it, a length is found by bisection."""
BATCHES = (1, 2, 3)


@dataclass(frozen=True)
class Shortest:
    """The case, and in words how it was found."""

    case: Case
    how: str


def search(failing: Sequence[Case], probe: Probe) -> Shortest:
    """Return the shortest failing case among golden and new ones; ``failing`` are golden ones.

    A case is as long as its longest axis. Up to ``EACH`` every length is tried with several
    batches and every raggedness; between there and the shortest golden one the search assumes that
    what fails at a length fails at every greater one.
    """
    start = min(failing, key=size)
    if probe.reference.complete is None:
        source = probe.reference.source
        return Shortest(start, f"among golden cases only: nothing here derives outputs ({source})")

    def shrunk(case: Case, how: str) -> Shortest:
        smallest = _smaller(case, probe)
        count = f"{probe.tried} new and golden cases judged by {probe.reference.source}"
        return Shortest(smallest, f"{how}, {count}")

    limit = start.longest
    for length in range(1, min(limit, EACH + 1)):
        if case := first(length, start, probe):
            return shrunk(case, f"every length up to {length}")
    how = f"every length up to {min(limit, EACH)}"
    passes, fails = min(limit, EACH), limit
    while fails - passes > 1:
        middle = (passes + fails) // 2
        scaled = replace(start, lengths=_scaled(start, middle))
        if probe.fails(scaled):
            fails = middle
        else:
            passes = middle
        how = f"every length up to {EACH}, then by bisection up to {limit}"
    case = first(fails, start, probe)
    if case is None:
        case = start if fails == limit else replace(start, lengths=_scaled(start, fails))
    return shrunk(case, how)


def first(length: int, like: Case, probe: Probe) -> Case | None:
    """Return the failing case of a length with the smallest batch, without padding if possible."""
    return next((case for case in _at(length, like, probe) if probe.fails(case)), None)


def size(case: Case) -> tuple[int, int, int, bool]:
    ragged = case.raggedness is not Raggedness.NONE
    return case.longest, case.batch, sum(case.lengths.values()), ragged


def _at(length: int, like: Case, probe: Probe) -> Iterator[Case]:
    spec = probe.job.golden.spec
    batches = sorted({*BATCHES, like.batch, length if length <= EACH else 1})
    sizes = [{a: length if a == axis else 1 for a in like.lengths} for axis in like.lengths]
    sizes += [dict.fromkeys(like.lengths, length)] if len(like.lengths) > 1 else []
    sizes = [spec.fitted(lengths) for lengths in sizes]
    for batch, lengths, kind in product(batches, sizes, spec.raggedness):
        padded = lengths[spec.ragged] if spec.ragged else 0
        if kind in (Raggedness.NONE, Raggedness.EMPTY) or padded > 1 + (kind is Raggedness.GAPPED):
            yield Case(lengths, batch, kind)


def _scaled(case: Case, length: int) -> dict[str, int]:
    """Return the case's lengths, none longer than ``length`` and its longest one that long."""
    longest = case.longest
    return {a: length if n == longest else min(n, length) for a, n in case.lengths.items()}


def _smaller(case: Case, probe: Probe) -> Case:
    """Return the case with its other lengths and its batch as small as it still fails."""
    for axis, count in case.lengths.items():
        if count == case.longest and list(case.lengths.values()).count(count) == 1:
            continue
        for less in range(1, min(count, EACH)):
            smaller = replace(case, lengths={**case.lengths, axis: less})
            if probe.fails(smaller):
                case = smaller
                break
    for batch in range(1, min(case.batch, EACH)):
        smaller = replace(case, batch=batch)
        if probe.fails(smaller):
            return smaller
    return case
