"""The results of a run: each comparison, case and cell, and the report of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.core.errors import NonconformanceError
from harness.core.schema import Case, Stage


class Status(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    XFAIL = "xfail"
    XPASS = "xpass"
    UNAVAILABLE = "unavailable"
    ERROR = "error"


@dataclass(frozen=True)
class Cell:
    """One square of the matrix."""

    model: str
    framework: str
    exporter: str
    variant: str
    runtime: str

    @property
    def id(self) -> str:
        return "/".join((self.model, self.framework, self.exporter, self.variant, self.runtime))


@dataclass(frozen=True)
class OutputComparison:
    """How far one output of one case is from the oracle; NaN never stands in these figures.

    Of its ``steps`` along the time axis ``steps_compared`` were; both are 1 where it has none.
    """

    name: str
    max_abs: float
    max_rel: float
    max_ulp: int
    noise_floor: float
    tolerance: float
    ratio: float
    worst_index: tuple[int, ...]
    worst_step: int | None
    reason: str = ""
    steps: int = 1
    steps_compared: int = 1


@dataclass(frozen=True)
class CaseResult:
    """How one case was judged: against its golden or, where one is named, by a ``relation``."""

    case: Case
    status: Status
    stage: Stage
    reason: str = ""
    outputs: tuple[OutputComparison, ...] = ()
    seconds: float = 0.0
    relation: str = ""


@dataclass(frozen=True)
class CellResult:
    cell: Cell
    status: Status
    stage: Stage
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[CaseResult, ...] = ()
    seconds: float = 0.0
    replay: str = ""


@dataclass(frozen=True)
class Report:
    """One run: its command, its environment and every cell's result.

    It is ``partial`` where the run stopped before its last cell. Its truth value is ``conforms``,
    its text has a line for each cell.
    """

    command: str
    environment: Mapping[str, Any]
    results: tuple[CellResult, ...]
    partial: bool = False

    @property
    def conforms(self) -> bool:
        """Whether something was compared and all that could be judged passed, to the last cell.

        What is not available here is no failure; an expected failure is one.
        """
        judged = {result.status for result in self.results} - {Status.UNAVAILABLE}
        return judged == {Status.PASS} and self.comparisons > 0 and not self.partial

    def raise_for_status(self) -> None:
        """Raise NonconformanceError, which names every cell, unless the report ``conforms``."""
        if not self.conforms:
            raise NonconformanceError(str(self))

    def __bool__(self) -> bool:
        return self.conforms

    def __str__(self) -> str:
        lines = [
            f"{r.status.value:<12}{r.cell.id}" + (r.reason and f": {r.stage}: {r.reason}")
            for r in self.results
        ]
        return "\n".join(lines) or "no cell was judged"

    @property
    def comparisons(self) -> int:
        """The number of outputs compared with their golden."""
        return sum(len(case.outputs) for result in self.results for case in result.cases)

    @property
    def steps(self) -> tuple[int, int]:
        """The number of time steps of outputs compared, and of all of them."""
        outputs = [o for result in self.results for case in result.cases for o in case.outputs]
        return sum(o.steps_compared for o in outputs), sum(o.steps for o in outputs)

    @property
    def summary(self) -> dict[str, int]:
        statuses = [result.status for result in self.results]
        counts = {status.value: statuses.count(status) for status in Status}
        return {"cells": len(self.results), "comparisons": self.comparisons, **counts}
