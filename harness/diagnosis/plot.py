"""A departure along time as text: a column for each step or few, the error on a log scale."""

from __future__ import annotations

import itertools
import math

from harness.diagnosis.departure import Along

WIDTH, HEIGHT = 60, 6
EIGHTHS = " ▁▂▃▄▅▆▇█"


def lines(along: Along) -> list[str]:
    """Return rows from the largest error down, the tolerance drawn through them, then the axis.

    Where there are more steps than columns, a column shows the largest error of some. Errors that
    are not finite reach the top; those below a hundredth of the tolerance do not show.
    """
    columns = _columns(along)
    finite = [e for e in along.errors if 0 < e < math.inf]
    top = max([*finite, along.tolerance * 10])
    high = math.log10(top)
    low = math.log10(along.tolerance / 100) if along.tolerance > 0 else high - HEIGHT
    unit = (high - low) / HEIGHT
    level = (math.log10(along.tolerance) - low) / unit if along.tolerance > 0 else -1.0
    rows = []
    for row in reversed(range(HEIGHT)):
        edge = 10 ** (low + (row + 1) * unit)
        through = row <= level < row + 1
        cells = (_cell(error, low, unit, row) for error in columns)
        drawn = "".join("─" if cell == " " and through else cell for cell in cells)
        note = f" ─ tolerance {along.tolerance:.2g}" if through else ""
        rows.append(f"{edge:8.1e} ┤{drawn}{note}")
    rows.append(f"{'':8} └{'─' * len(columns)}")
    first, last = along.steps[0], along.steps[-1]
    wide = f"{first}{str(last).rjust(len(columns) - len(str(first)))}" if last > first else "0"
    rows.append(f"{'':10}{wide} step of {along.output!r}")
    return rows


def _columns(along: Along) -> list[float]:
    count = min(WIDTH, len(along.errors))
    edges = [round(i * len(along.errors) / count) for i in range(count + 1)]
    return [max(along.errors[a:b]) for a, b in itertools.pairwise(edges)]


def _cell(error: float, low: float, unit: float, row: int) -> str:
    """Return one character: how far the column reaches into a row."""
    if error <= 0 or math.isnan(error):
        return " "
    height = math.inf if math.isinf(error) else (math.log10(error) - low) / unit
    part = min(max(height - row, 0.0), 1.0)
    return EIGHTHS[math.ceil(part * 8)]
