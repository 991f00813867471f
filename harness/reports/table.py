"""One table of runtimes by model, on the console and as ``report.md``; reasons stand below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.core import summary
from harness.core.errors import flattened
from harness.core.escaping import code, line, markdown
from harness.core.files import written
from harness.core.results import Cell, CellResult, Report, Status
from harness.reports import strip

NAME = "report.md"
STYLES = {Status.PASS: "green", Status.XFAIL: "yellow", Status.UNAVAILABLE: "dim"}
BAD = "bold red"
REASON = 200
DATE = "date"


@dataclass
class Matrix:
    """``rows`` map exports to their results by runtime, ``notes`` number the reasons.

    Runtimes that are available for no cell stand in ``absent`` with the reason, not in ``columns``.
    """

    columns: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, CellResult]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    notes: dict[tuple[str, str], int] = field(default_factory=dict)

    def text(self, row: str, column: str) -> str:
        """Return a cell's status and the numbers of its notes; empty for no cell."""
        result = self.rows[row].get(column)
        if result is None:
            return ""
        numbers = ", ".join(str(self.notes[note]) for note in _notes(result))
        return f"{result.status.value} {numbers}".rstrip()


def of(report: Report) -> Matrix:
    """Return the table of a report."""
    matrix = Matrix()
    several = len({(r.cell.exporter, r.cell.variant) for r in report.results}) > 1
    by_runtime: dict[str, list[CellResult]] = {}
    for result in report.results:
        by_runtime.setdefault(result.cell.runtime, []).append(result)
    for name, results in by_runtime.items():
        reasons = {result.reason for result in results}
        if len(reasons) == 1 and all(r.status is Status.UNAVAILABLE for r in results):
            matrix.absent[name] = reasons.pop()
        else:
            matrix.columns.append(name)
    for result in report.results:
        if result.cell.runtime in matrix.columns:
            label, number = _label(result.cell, several), 1
            while result.cell.runtime in matrix.rows.setdefault(_numbered(label, number), {}):
                number += 1
            matrix.rows[_numbered(label, number)][result.cell.runtime] = result
            for note in _notes(result):
                matrix.notes.setdefault(note, len(matrix.notes) + 1)
    return matrix


def show(console: Console, report: Report) -> None:
    """Print the table, and the notes that its numbers refer to."""
    matrix = of(report)
    first = max((len(line(row)) for row in matrix.rows), default=0)
    widths = {
        name: max(len(line(name)), *(len(matrix.text(row, name)) for row in matrix.rows))
        for name in matrix.columns
    }
    heads = (f"  {line(name):<{width}}" for name, width in widths.items())
    console.print(Text(line(" " * first + "".join(heads)), "bold"), soft_wrap=True)
    for row, results in matrix.rows.items():
        shown = Text(f"{line(row):<{first}}")
        for name, width in widths.items():
            style = STYLES.get(results[name].status, BAD) if name in results else ""
            shown.append("  ").append(f"{matrix.text(row, name):<{width}}", style)
        console.print(shown, soft_wrap=True)
    for note in _below(matrix, str):
        console.print(Text(line(note)), soft_wrap=True)


def write(report: Report, folder: Path) -> Path:
    """Write ``report.md`` into ``folder``, whole or not at all."""
    return written(folder / NAME, (f"{text}\n".encode() for text in _markdown(report)))


def _markdown(report: Report) -> Iterator[str]:
    """Yield the verdict, what was run where and when, the table with the figures, and the notes."""
    matrix = of(report)
    verdict = (
        "Nothing was compared"
        if not report.comparisons
        else ("Does not conform" if summary.exit_code(report) else "Conforms")
    )
    yield f"**{verdict}**: {markdown(summary.line(report))}"
    yield ""
    yield code(report.command)
    yield ""
    versions = [f"{name} {value}" for name, value in report.environment.items() if name != DATE]
    yield markdown(", ".join(filter(None, [str(report.environment.get(DATE, "")), *versions])))
    yield ""
    yield "| | " + " | ".join(map(markdown, matrix.columns)) + " |"
    yield "| --- |" + " --- |" * len(matrix.columns)
    for row in matrix.rows:
        texts = (_figures(matrix, row, column) for column in matrix.columns)
        yield f"| {markdown(row)} | " + " | ".join(texts) + " |"
    if any(result.tally.worst for result in report.results):
        yield from ["", "Figures are the largest error ÷ tolerance of each cell."]
    notes = list(_below(matrix, markdown))
    failing = [(r, strip.lengths(r)) for r in report.results if r.status in summary.BAD]
    notes += [f"{markdown(r.cell.id)}: {code(text)}" for r, text in failing if text]
    yield from ["", *(f"- {note}" for note in notes)] if notes else []


def _figures(matrix: Matrix, row: str, column: str) -> str:
    """Return a cell's text with its largest error ÷ tolerance, where something was compared."""
    result = matrix.rows[row].get(column)
    worst = result.tally.worst if result else None
    text = matrix.text(row, column)
    if result is None or worst is None:
        return text
    ratio = result.cases[worst[0]].outputs[worst[1]].ratio
    return f"{text} ({ratio:.2f})" if ratio < 10 else f"{text} ({ratio:.3g})"


def _below(matrix: Matrix, escape: Callable[[str], str]) -> Iterator[str]:
    for (stage, reason), number in matrix.notes.items():
        yield f"{number}: {stage}: {escape(reason)}"
    for name, why in matrix.absent.items():
        yield f"{escape(name)} is unavailable: {escape(why)}"


def _label(cell: Cell, several: bool) -> str:
    parts = (cell.model, cell.framework, *((cell.exporter, cell.variant) if several else ()))
    return "/".join(parts)


def _numbered(label: str, number: int) -> str:
    """Return the label of a row; the second subject of one name has a row of its own."""
    return label if number == 1 else f"{label} ({number})"


def _notes(result: CellResult) -> list[tuple[str, str]]:
    """Return the stage with why a cell does not pass, and with what a wider tolerance rests on.

    The reason lacks details that differ between cells of one cause.
    """
    stage, reason = result.stage.value, result.reason
    if result.status is Status.XFAIL:
        reason = reason.partition(": ")[0]
    notes = [] if result.status is Status.PASS else [(stage, flattened(reason, REASON))]
    return [*notes, (stage, result.tf32)] if result.tf32 else notes
