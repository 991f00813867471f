"""One table of runtimes by model, on the console and as ``report.md``; reasons stand below it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from harness.core.errors import flattened
from harness.core.files import written
from harness.core.results import Cell, CellResult, Report, Status

NAME = "report.md"
STYLES = {Status.PASS: "green", Status.XFAIL: "yellow", Status.UNAVAILABLE: "dim"}
BAD = "bold red"
REASON = 200


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
        """Return ``pass``, or another status and the number of its note; empty for no cell."""
        result = self.rows[row].get(column)
        if result is None:
            return ""
        if result.status is Status.PASS:
            return "pass"
        note = _note(result)
        return f"{result.status.value} {self.notes[note]}"


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
            if result.status is not Status.PASS:
                matrix.notes.setdefault(_note(result), len(matrix.notes) + 1)
    return matrix


def show(console: Console, report: Report) -> None:
    """Print the table, and the notes that its numbers refer to."""
    matrix = of(report)
    first = max(map(len, matrix.rows), default=0)
    widths = {
        name: max(len(name), *(len(matrix.text(row, name)) for row in matrix.rows))
        for name in matrix.columns
    }
    heads = (f"  {name:<{width}}" for name, width in widths.items())
    console.print(" " * first + "".join(heads), style="bold", highlight=False, soft_wrap=True)
    for row, results in matrix.rows.items():
        line = Text(f"{row:<{first}}")
        for name, width in widths.items():
            style = STYLES.get(results[name].status, BAD) if name in results else ""
            line.append("  ").append(f"{matrix.text(row, name):<{width}}", style)
        console.print(line, soft_wrap=True)
    for note in _below(matrix):
        console.print(escape(note), highlight=False, soft_wrap=True)


def write(report: Report, folder: Path) -> Path:
    """Write ``report.md`` into ``folder``, whole or not at all."""
    matrix = of(report)
    lines = [
        f"`{report.command}`",
        "",
        "| | " + " | ".join(matrix.columns) + " |",
        "| --- |" + " --- |" * len(matrix.columns),
    ]
    for row in matrix.rows:
        texts = (matrix.text(row, column) for column in matrix.columns)
        lines.append(f"| {row} | " + " | ".join(texts) + " |")
    lines += ["", *(f"- {line}" for line in _below(matrix))]
    return written(folder / NAME, ("\n".join(lines).rstrip() + "\n").encode())


def _below(matrix: Matrix) -> list[str]:
    notes = [f"{number}: {stage}: {reason}" for (stage, reason), number in matrix.notes.items()]
    return [*notes, *(f"{name} is unavailable: {why}" for name, why in matrix.absent.items())]


def _label(cell: Cell, several: bool) -> str:
    parts = (cell.model, cell.framework, *((cell.exporter, cell.variant) if several else ()))
    return "/".join(parts)


def _numbered(label: str, number: int) -> str:
    """Return the label of a row; the second subject of one name has a row of its own."""
    return label if number == 1 else f"{label} ({number})"


def _note(result: CellResult) -> tuple[str, str]:
    """Return the stage, and the reason without details that differ between cells of one cause."""
    reason = result.reason.partition(": ")[0] if result.status is Status.XFAIL else result.reason
    return result.stage.value, flattened(reason, REASON)
