"""The results of a run: each comparison, case and cell, and the report of them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from html import escape
from typing import Any

from harness.core.along import Along
from harness.core.errors import NonconformanceError
from harness.core.escaping import line
from harness.core.schema import Case, Stage

TF32_IN = "tf32_in"
"""In the evidence of a merged cell: the reports of it that judged it as TF32, if not the worst."""


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
    ``by_step`` has the ratio along them, as ``core.along`` does; it may be empty.
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
    by_step: Along = ()


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


@dataclass(frozen=True, slots=True)
class Tally:
    """What the cases of a cell come to; ``worst`` are the places of the output farthest out."""

    comparisons: int
    steps_compared: int
    steps: int
    worst: tuple[int, int] | None


@dataclass(frozen=True)
class CellResult:
    """How one cell was judged; its ``cases`` may lie in a file, and are read as they are needed."""

    cell: Cell
    status: Status
    stage: Stage
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cases: Sequence[CaseResult] = ()
    seconds: float = 0.0
    replay: str = ""

    @cached_property
    def tally(self) -> Tally:
        """The sums over all cases, which are gone through once."""
        comparisons = compared = steps = 0
        worst, largest = None, -1.0
        for number, case in enumerate(self.cases):
            for place, output in enumerate(case.outputs):
                comparisons += 1
                compared += output.steps_compared
                steps += output.steps
                if output.ratio > largest:
                    worst, largest = (number, place), output.ratio
        return Tally(comparisons, compared, steps, worst)

    @property
    def tf32(self) -> str:
        """Whether it was judged by the wider tolerance of TF32, and why, in words; else empty."""
        tolerance = self.evidence.get("tolerance")
        row = tolerance.get("row") if isinstance(tolerance, Mapping) else None
        if not str(row).endswith("+tf32"):
            others = self.evidence.get(TF32_IN)
            names = ", ".join(map(str, others)) if isinstance(others, list) else ""
            return f"judged as TF32 in {names}" if names else ""
        saved = "loaded_from" in self.evidence
        return "judged as TF32" + (" (as its saved evidence says)" if saved else "")


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
            line(f"{r.status.value:<12}{r.cell.id}" + (r.reason and f": {r.stage}: {r.reason}"))
            for r in self.results
        ]
        return "\n".join(lines) or "no cell was judged"

    def _repr_html_(self) -> str:
        """Return the report as a notebook shows it: the verdict, and a row for each cell."""
        rows = []
        for result in self.results:
            worst = result.tally.worst
            ratio = result.cases[worst[0]].outputs[worst[1]].ratio if worst else None
            figure = "" if ratio is None else f"{ratio:.3g}"
            texts = (result.status.value, result.cell.id, figure, result.reason)
            rows.append("".join(f"<td>{escape(line(text))}</td>" for text in texts))
        heads = "".join(f"<th>{head}</th>" for head in ("", "cell", "error ÷ tolerance", "reason"))
        verdict = "Conforms" if self.conforms else "Does not conform"
        table = "".join(f"<tr>{row}</tr>" for row in (heads, *rows))
        return f"<p><b>{verdict}</b></p><table>{table}</table>"

    @property
    def comparisons(self) -> int:
        """The number of outputs compared with their golden."""
        return sum(result.tally.comparisons for result in self.results)

    @property
    def steps(self) -> tuple[int, int]:
        """The number of time steps of outputs compared, and of all of them."""
        tallies = [result.tally for result in self.results]
        return sum(t.steps_compared for t in tallies), sum(t.steps for t in tallies)

    @property
    def summary(self) -> dict[str, int]:
        return counts(self.results, self.comparisons)


def counts(results: Sequence[CellResult], comparisons: int) -> dict[str, int]:
    """Return the numbers of cells, of comparisons, and of cells of each status."""
    by_status = Counter(result.status for result in results)
    numbers = {status.value: by_status[status] for status in Status}
    return {"cells": len(results), "comparisons": comparisons, **numbers}
