"""From names and selectors to the cells of the matrix; an empty selection is an error."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.core.errors import NothingSelectedError, UsageError, unknown
from harness.core.results import Cell
from harness.core.schema import Case

ALL = "all"
TWIN = ("native", "fp32")
_RANGE = re.compile(r"(\d+)(?:\.\.(\d+))?")
_TOKEN = re.compile(r"\s*([()]|[^\s()]+)")


@dataclass(frozen=True)
class Numbers:
    """The numbers that ``--lengths`` or ``--batch`` selects, ``1,2,7..9``; all without ranges."""

    flag: str
    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, number: int) -> bool:
        return not self.ranges or any(low <= number <= high for low, high in self.ranges)

    def require(self, available: Collection[int]) -> None:
        """Raise UsageError for a number or a range that selects none of ``available``."""
        for low, high in self.ranges:
            if not any(low <= number <= high for number in available):
                text = str(low) if low == high else f"{low}..{high}"
                raise UsageError(
                    f"{self.flag} {text}: no golden case has it; there are: {_listed(available)}"
                )


def numbers(flag: str, texts: Iterable[str], available: Collection[int]) -> Numbers:
    """Parse ``1,2,7..9,128``; UsageError, which lists ``available``, where it cannot be read."""
    ranges = []
    for text in (item.strip() for entry in texts for item in entry.split(",")):
        if text == ALL:
            continue
        match = _RANGE.fullmatch(text)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high or high == 0:
            raise UsageError(
                f"{flag} {text!r}: expected numbers from 1 and ranges such as 1,2,7..9;"
                f" there are: {_listed(available)}"
            )
        ranges.append((low, high))
    return Numbers(flag, tuple(ranges))


def _listed(numbers: Collection[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def names(kind: str, texts: Sequence[str], choices: Collection[str]) -> list[str]:
    """Return what comma-separated names or globs select, in the order of ``choices``."""
    selected: set[str] = set()
    for text in (item.strip() for entry in texts for item in entry.split(",")):
        matches = list(choices) if text == ALL else [c for c in choices if fnmatchcase(c, text)]
        if not matches:
            raise unknown(kind, text, choices)
        selected.update(matches)
    return [choice for choice in choices if choice in selected]


def exact(texts: Sequence[str], choices: Collection[str]) -> list[str]:
    """Return which of ``choices`` comma-separated texts name themselves, not by a glob."""
    items = {item.strip() for entry in texts for item in entry.split(",")}
    return [choice for choice in choices if choice in items]


class Expression:
    """``-k``: substrings of a cell id joined by ``and``, ``or``, ``not`` and parentheses.

    UsageError where the text is no such expression.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.matches("")

    def matches(self, cell_id: str) -> bool:
        tokens = _TOKEN.findall(self.text)
        value = self._or(tokens, cell_id)
        if tokens:
            self._refuse()
        return value

    def _or(self, tokens: list[str], cell_id: str) -> bool:
        value = self._and(tokens, cell_id)
        while tokens and tokens[0] == "or":
            tokens.pop(0)
            value = self._and(tokens, cell_id) or value
        return value

    def _and(self, tokens: list[str], cell_id: str) -> bool:
        value = self._not(tokens, cell_id)
        while tokens and tokens[0] == "and":
            tokens.pop(0)
            value = self._not(tokens, cell_id) and value
        return value

    def _not(self, tokens: list[str], cell_id: str) -> bool:
        if not tokens or tokens[0] in ("and", "or", ")"):
            self._refuse()
        token = tokens.pop(0)
        if token == "not":
            return not self._not(tokens, cell_id)
        if token == "(":
            value = self._or(tokens, cell_id)
            if not tokens or tokens.pop(0) != ")":
                self._refuse()
            return value
        return token in cell_id

    def _refuse(self) -> None:
        raise UsageError(
            f"-k {self.text!r}: expected parts of cell ids joined by and, or, not and parentheses"
        )


def cells(
    models: Mapping[str, Collection[str]],
    frameworks: Iterable[str],
    exporters: Iterable[str],
    variants: Iterable[str],
    runtimes: Iterable[str],
    exporter_targets: Collection[str],
    keep: Expression | None,
    twins: Mapping[str, str] | None = None,
) -> list[Cell]:
    """Return every cell of the selection whose exporter knows its framework, models outermost.

    ``models`` maps each name to the frameworks that have a twin of it; ``twins`` maps the runtimes
    that are a framework to it. They run the twin, whatever the exporter: their one cell for each
    of that framework's models is that of the native float32 export.
    """
    own = twins or {}
    selected = [
        Cell(model, framework, exporter, variant, runtime)
        for model, with_twin in models.items()
        for framework in frameworks
        if framework in with_twin
        for exporter in exporters
        if f"{exporter}/{framework}" in exporter_targets
        for variant in variants
        for runtime in runtimes
        if runtime not in own or (own[runtime], *TWIN) == (framework, exporter, variant)
    ]
    kept = [cell for cell in selected if keep is None or keep.matches(cell.id)]
    if not kept:
        raise NothingSelectedError("the selection has no cell: nothing would be compared")
    return kept


def shard(items: list[Cell], text: str) -> list[Cell]:
    """Return every N-th cell from the I-th on, for ``I/N`` with 1 <= I <= N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(f"--shard {text!r}: expected I/N with 1 <= I <= N, for example 1/4")
    chosen = items[number - 1 :: count]
    if not chosen:
        raise NothingSelectedError(f"--shard {text}: there are only {len(items)} cells")
    return chosen


def choose(cases: Iterable[Case], lengths: Numbers, batches: Numbers) -> list[Case]:
    """Return the cases whose longest axis and whose batch are selected, shortest first."""
    chosen = [c for c in cases if c.longest in lengths and c.batch in batches]
    return sorted(chosen, key=lambda case: (case.longest, case.batch))
