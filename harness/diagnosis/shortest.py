"""The shortest length, and there the smallest batch, at which a cell fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from harness.core.schema import Case, Raggedness
from harness.diagnosis.probing import Probe

EACH = 16
"""Every length up to this one is tried; beyond it, a length is found by bisection."""
BATCHES = (1, 2, 3)


@dataclass(frozen=True)
class Shortest:
    """The case, and in words what was tried to find it."""

    case: Case
    told: str


def search(failing: Sequence[Case], probe: Probe) -> Shortest:
    """The shortest failing case that golden and new ones show; ``failing`` are golden ones.

    A case is as long as its longest axis. Up to ``EACH`` every length is tried with several
    batches and every raggedness; between there and the shortest golden one the search takes it
    that what fails at a length fails at every greater one.
    """
    start = min(failing, key=size)
    if probe.reference.complete is None:
        told = f"among golden cases only: nothing here derives outputs ({probe.reference.told})"
        return Shortest(start, told)
    limit = start.longest
    for length in range(1, min(limit, EACH + 1)):
        if case := first(length, start, probe):
            return Shortest(_smaller(case, probe), _told(probe, f"every length up to {length}"))
    how = f"every length up to {min(limit, EACH)}"
    passes, fails = min(limit, EACH), limit
    while fails - passes > 1:
        middle = (passes + fails) // 2
        scaled = Case(_scaled(start, middle), start.batch, start.raggedness)
        if probe.fails(scaled):
            fails = middle
        else:
            passes = middle
        how = f"every length up to {EACH}, then by bisection up to {limit}"
    found = first(fails, start, probe)
    if found is None:
        found = start if fails == limit else Case(_scaled(start, fails), start.batch)
        found = Case(found.lengths, found.batch, start.raggedness)
    return Shortest(_smaller(found, probe), _told(probe, how))


def first(length: int, like: Case, probe: Probe) -> Case | None:
    """The failing case of a length with the smallest batch, without padding if there is one."""
    return next((case for case in _at(length, like, probe) if probe.fails(case)), None)


def size(case: Case) -> tuple[int, int, int, bool]:
    ragged = case.raggedness is not Raggedness.NONE
    return case.longest, case.batch, sum(case.lengths.values()), ragged


def _at(length: int, like: Case, probe: Probe) -> Iterator[Case]:
    spec = probe.job.golden.spec
    batches = sorted({*BATCHES, like.batch, length if length <= EACH else 1})
    sizes = [{a: length if a == axis else 1 for a in like.lengths} for axis in like.lengths]
    sizes += [dict.fromkeys(like.lengths, length)] if len(like.lengths) > 1 else []
    for batch, lengths, kind in product(batches, sizes, spec.raggedness):
        padded = lengths[spec.ragged] if spec.ragged else 0
        if kind in (Raggedness.NONE, Raggedness.EMPTY) or padded > 1 + (kind is Raggedness.GAPPED):
            yield Case(lengths, batch, kind)


def _scaled(case: Case, length: int) -> dict[str, int]:
    """The case's lengths, none longer than ``length`` and its longest one that long."""
    whole = case.longest
    return {a: length if n == whole else min(n, length) for a, n in case.lengths.items()}


def _smaller(case: Case, probe: Probe) -> Case:
    """The other lengths of a case, and its batch, as small as they still fail."""
    for axis, count in case.lengths.items():
        if count == case.longest and list(case.lengths.values()).count(count) == 1:
            continue
        for less in range(1, min(count, EACH)):
            smaller = Case({**case.lengths, axis: less}, case.batch, case.raggedness)
            if probe.fails(smaller):
                case = smaller
                break
    for batch in range(1, min(case.batch, EACH)):
        smaller = Case(case.lengths, batch, case.raggedness)
        if probe.fails(smaller):
            return smaller
    return case


def _told(probe: Probe, how: str) -> str:
    return f"{how}, {probe.tried} new and golden cases judged by {probe.reference.told}"
