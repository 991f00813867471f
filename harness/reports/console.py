"""The console: one line a cell, and where a failing one fails."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.core.escaping import line
from harness.core.results import CaseResult, CellResult, OutputComparison, Status
from harness.core.schema import case_text
from harness.core.summary import count
from harness.reports import strip, weights

STYLES = {
    Status.PASS: "green",
    Status.FAIL: "bold red",
    Status.XFAIL: "yellow",
    Status.XPASS: "bold red",
    Status.UNAVAILABLE: "dim",
    Status.ERROR: "bold red",
}
SHOWN_CASES = 5
INDENT = " " * 12


def cell(console: Console, result: CellResult, verbose: bool) -> None:
    """Print one line for a cell, and the cases that do not conform."""
    head = Text(f"{result.status.value:<11}", STYLES[result.status])
    tail = f"  {count(len(result.cases), 'case')}" if result.cases else ""
    tail += _uncompared(result.evidence.get("coverage"))
    worst = result.tally.worst if result.status is Status.PASS else None
    if worst is not None:
        case = result.cases[worst[0]]
        output = case.outputs[worst[1]]
        tail += f", worst {output.ratio:.2f} x tolerance ({output.name}, {_where(case)})"
    tail += f", {result.tf32}" if result.tf32 else ""
    show(console, head, f" {result.cell.id}{tail}")
    if result.status not in (Status.PASS, Status.UNAVAILABLE) or result.reason:
        show(console, f"{INDENT}{result.stage.value}: {result.reason}")
    if result.status in (Status.FAIL, Status.ERROR) and (which := strip.lengths(result)):
        show(console, f"{INDENT}{which}")
    counts = _lint(result.evidence.get("lint"))
    if counts and (verbose or result.status in (Status.FAIL, Status.ERROR)):
        show(console, f"{INDENT}lint: {counts} (see the report's evidence)")
    account = result.evidence.get("account")
    if verbose and (found := weights.line(account)):
        show(console, f"{INDENT}{found}")
    if result.status in (Status.FAIL, Status.ERROR):
        _cases(console, result, None if verbose else SHOWN_CASES)
        show(console, f"{INDENT}{result.replay}", style="dim")
    elif verbose:
        _cases(console, result, None)


def show(console: Console, *parts: str | Text, style: str = "") -> None:
    """Print one line; its parts that are no ``Text`` may come from files, and are only shown."""
    head = [part for part in parts if isinstance(part, Text)]
    rest = line("".join(part for part in parts if isinstance(part, str)))
    console.print(Text.assemble(*head, (rest, style)), soft_wrap=True)


def text(result: CellResult, verbose: bool = False) -> str:
    """Return the lines of ``cell`` without colours, and the replay of an unexpected pass."""
    stream = io.StringIO()
    cell(Console(file=stream, color_system=None, width=10_000), result, verbose)
    lines = [shown.rstrip() for shown in stream.getvalue().splitlines()]
    if result.status is Status.XPASS:
        lines.append(line(f"{INDENT}{result.replay}"))
    return "\n".join(lines)


def _uncompared(coverage: Any) -> str:
    """Return how many planned cases were not compared; empty for none, and for what says none."""
    counts = coverage.get("compared") if isinstance(coverage, Mapping) else None
    match counts.get("cases") if isinstance(counts, Mapping) else None:
        case [int(compared), int(planned)] if compared < planned:
            return f" ({planned - compared} of {planned} planned ones cannot be compared)"
    return ""


def _lint(findings: Any) -> str:
    """Return how many findings there are; empty for none, and for what is none."""
    if not (findings and isinstance(findings, list)):
        return ""
    errors = sum(isinstance(f, Mapping) and f.get("severity") == "error" for f in findings)
    return f"{errors} errors, {len(findings) - errors} warnings"


def _cases(console: Console, result: CellResult, limit: int | None) -> None:
    """Print the cases that do not pass, ``limit`` of them at most; without a limit, else all."""
    shown = left = 0
    for case in result.cases:
        if case.status is not Status.PASS:
            if limit is None or shown < limit:
                _case(console, case, limit is None)
                shown += 1
            else:
                left += 1
    if limit is None and not shown:
        for case in result.cases:
            _case(console, case, True)
    if left:
        show(console, f"{INDENT}… and {left} more cases (-v shows all)")


def _case(console: Console, case: CaseResult, every_output: bool) -> None:
    if not case.outputs:
        show(console, f"{INDENT}{_where(case)}: {case.reason}")
    for output in case.outputs:
        if output.reason or every_output:
            show(console, f"{INDENT}{_where(case)}: {_output(output)}")


def _output(output: OutputComparison) -> str:
    step = "" if output.worst_step is None else f" step {output.worst_step}"
    known = output.reason.startswith("error ")  # beyond the tolerance, as the figures say
    reason = "" if known or not output.reason else f"; {output.reason}"
    return (
        f"{output.name}{step} {list(output.worst_index)}: error {output.max_abs:.3g}"
        f" = {output.ratio:.3g} x tolerance {output.tolerance:.3g}"
        f" (would pass at {output.max_abs:.3g}){reason}"
    )


def _where(case: CaseResult) -> str:
    text = case_text(case.case)
    text += f", draw {case.case.draw}" if case.case.draw else ""
    text += ", run again" if case.case.repeat else ""
    return text + (f", relation {case.relation}" if case.relation else "")
