"""Strict expected failures: a table of reviewed rows, each for one cell or a glob of cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.reading import read_toml
from harness.core.results import CellResult, Status
from harness.core.schema import Stage

REQUIRED = {"cell", "stage", "reason", "upstream"}
OPTIONAL = {"relation"}
MAY_BE_EMPTY = {"upstream", "relation"}


@dataclass(frozen=True)
class Expectation:
    """Cells that fail today: at which stage, why, and the upstream issue.

    With ``relation`` that relation alone fails, where it is tried.
    """

    cell: str
    stage: Stage
    reason: str
    upstream: str
    relation: str = ""

    def matches(self, cell_id: str) -> bool:
        return fnmatchcase(cell_id, self.cell)


def load(path: Path) -> list[Expectation]:
    """Return the rows of ``[[expect]]`` tables; UsageError names the row that is not usable."""
    table = read_toml(path)
    tables = table.pop("expect", [])
    if table or not isinstance(tables, list) or not all(isinstance(row, dict) for row in tables):
        raise UsageError(
            f"{path}: expected [[expect]] tables and nothing else; it has:"
            f" {', '.join(table) or 'an expect that is no list of tables'}"
        )
    return [_read(row, f"{path}: row {number}") for number, row in enumerate(tables, 1)]


def _read(row: Mapping[str, Any], place: str) -> Expectation:
    """Return a row of the table; UsageError for a field that is missing, unknown or no text."""
    if not REQUIRED <= row.keys() <= REQUIRED | OPTIONAL:
        raise UsageError(
            f"{place} needs exactly cell, stage, reason and upstream, and may name a relation;"
            f" it has: {', '.join(row)}"
        )
    for name, value in row.items():
        if not isinstance(value, str) or not (value.strip() or name in MAY_BE_EMPTY):
            raise UsageError(f"{place}: {name} = {value!r}; expected a text")
    if row["stage"] not in list(Stage):
        raise UsageError(f"{place}: stage = {row['stage']!r}; expected one of {', '.join(Stage)}")
    return Expectation(**{**row, "stage": Stage(row["stage"])})


def judge(result: CellResult, rows: Sequence[Expectation], partial: bool = False) -> CellResult:
    """Return the result as its row has it.

    A failure at the expected stage becomes ``xfail``; a pass becomes ``xpass``, and a failure at
    another stage stays a failure and says which one was expected. A ``partial`` run, which left
    cases out, may also pass or fail at a later stage.
    """
    row = _row(result, [row for row in rows if row.matches(result.cell.id)])
    if row is None or result.status is Status.UNAVAILABLE:
        return result
    if partial:
        if result.status is Status.PASS:
            return result
        order = list(Stage)
        if order.index(result.stage) > order.index(row.stage):
            row = replace(row, stage=result.stage)
    if result.status is Status.PASS:
        return replace(
            result,
            status=Status.XPASS,
            reason=f"expected to fail at {row.stage} ({row.reason}), but it conforms:"
            " remove the expectation",
        )
    if result.status is Status.FAIL and result.stage is row.stage:
        upstream = f" [{row.upstream}]" if row.upstream else ""
        return replace(
            result, status=Status.XFAIL, reason=f"{row.reason}{upstream}: {result.reason}"
        )
    return replace(
        result, reason=f"expected to fail at {row.stage} ({row.reason}), but: {result.reason}"
    )


def _row(result: CellResult, rows: Sequence[Expectation]) -> Expectation | None:
    """Return the first row of a cell; else one of a relation that alone fails, or should have."""
    failing = {case.relation for case in result.cases if case.status is not Status.PASS}
    tried = {case.relation for case in result.cases}
    of_cell = (row for row in rows if not row.relation)
    of_relation = (
        r for r in rows if {r.relation} == failing or (not failing and r.relation in tried)
    )
    return next(of_cell, None) or next(of_relation, None)


def unused(rows: Iterable[Expectation], cell_ids: Iterable[str]) -> list[Expectation]:
    """Return the rows that match no cell of the whole matrix: left over, or misspelt."""
    ids = list(cell_ids)
    return [row for row in rows if not any(row.matches(cell_id) for cell_id in ids)]
