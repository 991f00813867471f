"""The exit code and the summary line of a run."""

from __future__ import annotations

from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, NOTHING_COMPARED, UNUSABLE
from harness.core.results import Report, Status

BAD = (Status.FAIL, Status.XPASS, Status.ERROR)


def exit_code(report: Report, incomplete: bool = False) -> int:
    """Return 0 only where something was compared and nothing failed, crashed or passed wrongly.

    An ``incomplete`` run, where a report could not be written or a part is missing, is not 0.
    """
    if any(result.status in BAD for result in report.results):
        return DOES_NOT_CONFORM
    if not report.comparisons:
        return NOTHING_COMPARED
    return UNUSABLE if incomplete else CONFORMS


def count(number: int, noun: str) -> str:
    """Return ``1 case`` or ``1,200 cases``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def line(report: Report) -> str:
    """Return ``40 cells, 4,120 comparisons at 9,000 of 80,000 steps: 38 pass, 2 xfail``.

    Cells that were judged by the wider tolerance of TF32 are counted after that.
    """
    summary = report.summary
    counts = [f"{summary[s.value]} {s.value}" for s in Status if summary[s.value]]
    nothing = "" if report.comparisons else "; nothing was compared"
    cells = count(summary["cells"], "cell")
    steps_compared, steps = report.steps
    compared = f"{count(report.comparisons, 'comparison')} at {steps_compared:,} of {steps:,} steps"
    partial = "partial report: " if report.partial else ""
    wider = sum(bool(result.tf32) for result in report.results)
    tf32 = f" ({count(wider, 'cell')} judged as TF32)" if wider else ""
    return f"{partial}{cells}, {compared}: {', '.join(counts) or 'none'}{tf32}{nothing}"
