"""Which lengths of a cell fail, as a strip of one sign a length, and in words."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.results import CellResult, Status

PASSES, FAILS = ".", "x"


def lengths(result: CellResult) -> str:
    """Return ``lengths 1..33: ...xxx, fails at 7..33``; empty where no case fails.

    A case counts at its longest length, and a length fails where one of its cases does.
    """
    failing: dict[int, bool] = {}
    for case in result.cases:
        bad = case.status is not Status.PASS
        if case.case.lengths:
            failing[case.case.longest] = failing.get(case.case.longest, False) or bad
    if not any(failing.values()):
        return ""
    known = sorted(failing)
    signs = "".join(FAILS if failing[length] else PASSES for length in known)
    return f"lengths {_range(known)}: {signs}, fails at {', '.join(_ranges(known, failing))}"


def _ranges(known: Sequence[int], failing: dict[int, bool]) -> list[str]:
    """Return the failing lengths, those without a passing one between them as one range."""
    ranges: list[list[int]] = []
    fails_before = False
    for length in known:
        if failing[length]:
            if fails_before:
                ranges[-1].append(length)
            else:
                ranges.append([length])
        fails_before = failing[length]
    return [_range(one) for one in ranges]


def _range(lengths: Sequence[int]) -> str:
    first, last = lengths[0], lengths[-1]
    return str(first) if first == last else f"{first}..{last}"
