"""Since which version of a runtime a cell fails, and which versions give the same outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from packaging.version import Version

from harness.core.results import CellResult, Status
from harness.core.versioned import GOOD, SAME, split


def lines(results: Sequence[CellResult]) -> Iterator[str]:
    """Yield a line for each cell that was judged at several versions, however they end."""
    groups: dict[str, list[tuple[Version, CellResult]]] = {}
    for result in results:
        runtime, version = split(result.cell.runtime)
        if version and result.status is not Status.UNAVAILABLE:
            cell = replace(result.cell, runtime=runtime)
            groups.setdefault(cell.id, []).append((version, result))
    for name, group in groups.items():
        group.sort(key=lambda pair: pair[0])
        yield f"{name}: {_text(group)}"


def _text(group: Sequence[tuple[Version, CellResult]]) -> str:
    words = []
    for number, (version, result) in enumerate(group):
        good = result.status in GOOD
        if number == 0:
            words.append(f"{'passes' if good else 'fails'} at {version}")
        elif good != (group[number - 1][1].status in GOOD):
            words.append(f"{'passes' if good else 'fails'} since {version}")
    if len(words) == 1 and len(group) > 1:
        words = [f"{'passes' if group[0][1].status in GOOD else 'fails'} at all {len(group)}"]
        words[0] += f" versions, {group[0][0]} to {group[-1][0]}"
    digests = [result.evidence.get(SAME) for _, result in group]
    if len(group) > 1 and None not in digests:
        same = len({*digests}) == 1
        words.append("outputs equal to the bit" if same else _distinct(group))
    return ", ".join(words)


def _distinct(group: Sequence[tuple[Version, CellResult]]) -> str:
    """Return at which versions the outputs are other ones than at the version before."""
    changed = [
        str(version)
        for (_, before), (version, after) in pairwise(group)
        if before.evidence.get(SAME) != after.evidence.get(SAME)
    ]
    return f"other bits since {', '.join(changed)}"
