"""How many valid steps each row of a padded case has."""

from __future__ import annotations

import numpy as np

from harness.core.schema import Case, Raggedness, RowLengths
from harness.goldens.formulas import bits


def counts(case: Case, steps: int, seed: int) -> list[int]:
    """Return the valid steps of each row, which are as the case's ``rows`` says."""
    draws = bits(seed, case.batch) % np.uint64(max(steps - 1, 1))
    rows = [1 + int(draw) for draw in draws]
    if case.rows is not RowLengths.FIRST:
        return _full(case.rows, rows, steps)
    if case.raggedness is Raggedness.EMPTY:
        return [0, *rows[1:]]
    return [max(steps - 1, 1), *rows[1:]] if case.batch > 1 else [max(steps - steps // 3 - 1, 1)]


def _full(rows: RowLengths, counts: list[int], steps: int) -> list[int]:
    """Return the counts changed so that a row is full and others are as ``rows`` says."""
    last = len(counts) - 1
    if rows is RowLengths.DESCENDING:
        return sorted([steps, *counts[1:2], *counts[1:-1]], reverse=True)
    if rows is RowLengths.MIXED and last > 1:
        counts[last] = counts[0]
    full = 0 if rows is RowLengths.LATE and last == 1 else (last + 1) // 2
    counts[full] = steps
    others = [row for row in (1, last, 0) if row != full]
    for row in dict.fromkeys(others[: {RowLengths.LATE: 1, RowLengths.TWO: 2}.get(rows, 0)]):
        counts[row] = 0
    return counts
