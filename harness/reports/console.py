"""The console: progress on standard error, one line a cell, and where a failing one fails."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.core.results import CaseResult, CellResult, OutputComparison, Status
from harness.core.schema import case_text
from harness.core.summary import count

STYLES = {
    Status.PASS: "green",
    Status.FAIL: "bold red",
    Status.XFAIL: "yellow",
    Status.XPASS: "bold red",
    Status.UNAVAILABLE: "dim",
    Status.ERROR: "bold red",
}
SHOWN_CASES = 5


@contextmanager
def progress(console: Console, enabled: bool) -> Iterator[Progress]:
    """Show a bar with the count, the time spent and the time left; nothing off a terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (enabled and console.is_terminal),
    )
    with bar:
        yield bar


def cell(console: Console, result: CellResult, verbose: bool) -> None:
    """Print one line for a cell, and the cases that do not conform."""
    style = STYLES[result.status]
    label = f"[{style}]{result.status.value:<11}[/{style}] {escape(result.cell.id)}"
    tail = f"  {count(len(result.cases), 'case')}" if result.cases else ""
    worst = _worst(result)
    if result.status is Status.PASS and worst is not None:
        case, output = worst
        tail += f", worst {output.ratio:.2f} x tolerance ({output.name}, {_where(case)})"
    console.print(label + escape(tail), highlight=False, soft_wrap=True)
    if result.status not in (Status.PASS, Status.UNAVAILABLE) or result.reason:
        console.print(f"            {result.stage.value}: {escape(result.reason)}", soft_wrap=True)
    findings = result.evidence.get("lint")
    if findings and (verbose or result.status in (Status.FAIL, Status.ERROR)):
        errors = sum(finding["severity"] == "error" for finding in findings)
        counts = f"{errors} errors, {len(findings) - errors} warnings"
        line = f"            lint: {counts} (see the report's evidence)"
        console.print(line, highlight=False, soft_wrap=True)
    if result.status in (Status.FAIL, Status.ERROR):
        _cases(console, result, None if verbose else SHOWN_CASES)
        console.print(f"            [dim]{escape(result.replay)}[/dim]", soft_wrap=True)
    elif verbose:
        _cases(console, result, None)


def text(result: CellResult, verbose: bool = False) -> str:
    """Return the lines of ``cell`` without colours, and the replay of an unexpected pass."""
    stream = io.StringIO()
    cell(Console(file=stream, color_system=None, width=10_000), result, verbose)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    if result.status is Status.XPASS:
        lines.append(f"            {result.replay}")
    return "\n".join(lines)


def _cases(console: Console, result: CellResult, limit: int | None) -> None:
    cases = [case for case in result.cases if case.status is not Status.PASS]
    if limit is None and not cases:
        cases = list(result.cases)
    for case in cases[:limit]:
        if not case.outputs:
            console.print(f"            {_where(case)}: {escape(case.reason)}", soft_wrap=True)
        for output in case.outputs:
            if output.reason or limit is None:
                console.print(
                    f"            {_where(case)}: {escape(_output(output))}", soft_wrap=True
                )
    if limit is not None and len(cases) > limit:
        console.print(f"            … and {len(cases) - limit} more cases (-v shows all)")


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


def _worst(result: CellResult) -> tuple[CaseResult, OutputComparison] | None:
    pairs = [(case, output) for case in result.cases for output in case.outputs]
    return max(pairs, key=lambda pair: pair[1].ratio, default=None)
