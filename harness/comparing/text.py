"""A comparison as lines for a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from msgspec import Struct

from harness.comparing.change import BAD, Change, Comparison, Word
from harness.core.escaping import line, markdown
from harness.core.summary import count
from harness.typed_json import Size, plain

SCHEMA: Final = 1
QUIET = (Word.SAME, Word.IDENTICAL)


class ComparisonFile(Struct, forbid_unknown_fields=True):
    """Two runs compared, cell by cell; ``summary`` has the number of cells of each word."""

    schema: Literal[1]
    what: str
    before: str
    after: str
    budget: str
    summary: dict[Word, Size]
    cells: list[Change]


def summary(comparison: Comparison) -> str:
    """Return ``2 cells, 80 outputs compared: 1 worse, 1 same; at most 2 times as large``."""
    counts = ", ".join(f"{number} {word}" for word, number in comparison.counts.items())
    cells = count(len(comparison.changes), "cell")
    outputs = count(comparison.compared, "output")
    nothing = "" if comparison.compared else "; nothing was compared"
    return f"{cells}, {outputs} compared: {counts or 'none'}; {comparison.budget}{nothing}"


def lines(comparison: Comparison) -> Iterator[str]:
    """Yield a line for each cell of which there is something to say, the worst first."""
    for change in _ordered(comparison):
        if change.word not in QUIET or change.reason:
            yield line(f"{change.word:<15}{change.cell}  {change.reason}".rstrip())


def as_markdown(comparison: Comparison) -> Iterator[str]:
    """Yield a page in Markdown: what was compared, the summary, and a table of what changed."""
    verdict = "Worse" if any(word in BAD for word in comparison.counts) else "Not worse"
    yield f"**{verdict}**: {markdown(summary(comparison))}"
    yield ""
    yield f"{markdown(comparison.before)} → {markdown(comparison.after)} ({comparison.what})"
    changed = [c for c in _ordered(comparison) if c.word not in QUIET]
    if changed:
        yield from ["", "| | cell | what |", "| --- | --- | --- |"]
        for change in changed:
            yield f"| {change.word} | {markdown(change.cell)} | {markdown(change.reason)} |"


def as_json(comparison: Comparison) -> str:
    """Return the comparison as strict JSON; an infinite figure is null."""
    about = ComparisonFile(
        SCHEMA,
        comparison.what,
        comparison.before,
        comparison.after,
        comparison.budget,
        comparison.counts,
        [
            replace(change, before=_finite(change.before), after=_finite(change.after))
            for change in comparison.changes
        ],
    )
    return json.dumps(plain(about), indent=1, allow_nan=False)


def _ordered(comparison: Comparison) -> list[Change]:
    order = list(Word)
    return sorted(comparison.changes, key=lambda change: order.index(change.word))


def _finite(figure: float | None) -> float | None:
    return figure if figure is not None and math.isfinite(figure) else None
