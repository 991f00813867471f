"""What can be compared: reports, saved outputs and bundles, each with one of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from harness.comparing import bundles, outputs, reports
from harness.comparing.change import Comparison
from harness.core.errors import UsageError
from harness.exporting import bundle
from harness.reports import json_file
from harness.validation.outputs import saved


class RunKind(StrEnum):
    """Every kind of what two runs left, by what a message calls it."""

    REPORT = "reports"
    OUTPUTS = "saved outputs"
    BUNDLE = "bundles"


FLAGS = {
    "--budget": (RunKind.REPORT,),
    "--max-ulp": (RunKind.OUTPUTS, RunKind.BUNDLE),
    "--runtime": (RunKind.BUNDLE,),
}
"""The flags that some kinds alone have."""


def kind(path: Path) -> RunKind:
    """Return what a path is; UsageError where it is none of the kinds."""
    if path.is_file():
        return RunKind.REPORT
    if (path / bundle.MODEL).is_file():
        return RunKind.BUNDLE
    if (path / json_file.NAME).is_file():
        return RunKind.REPORT
    if path.is_dir():
        return RunKind.OUTPUTS
    raise UsageError(f"{path}: no such file or folder")


def compared(
    before: Path,
    after: Path,
    *,
    budget: float | None = None,
    max_ulp: int | None = None,
    runtimes: Sequence[str] = (),
    default: float = 2.0,
) -> Comparison:
    """Return what became of every cell of ``before`` in ``after``.

    UsageError where they are of different kinds, one cannot be read, or a flag is of another kind.
    """
    first, second = kind(before), kind(after)
    if first is not second:
        raise UsageError(f"{before} is of {first}, {after} of {second}; expected two of one kind")
    given = {"--budget": budget is not None, "--max-ulp": max_ulp is not None}
    for flag, is_given in {**given, "--runtime": bool(runtimes)}.items():
        if is_given and first not in FLAGS[flag]:
            kinds = " and ".join(FLAGS[flag])
            raise UsageError(f"{flag} is for {kinds}; {before} and {after} are {first}")
    if first is RunKind.REPORT:
        factor = default if budget is None else budget
        both = [json_file.read(_report(path)) for path in (before, after)]
        changes = [*reports.changes(both[0], both[1], factor)]
        allowed = f"an error may become {factor:g} times as large"
        return Comparison(first, str(before), str(after), allowed, changes)
    most = max_ulp or 0
    allowed = f"an output may move by {most:,} ULP"
    if first is RunKind.BUNDLE:
        changes = [*bundles.changes(before, after, runtimes or ["ort-cpu"], most)]
    else:
        changes = [*outputs.changes(saved.every(before), saved.every(after), most)]
    return Comparison(first, str(before), str(after), allowed, changes)


def _report(path: Path) -> Path:
    return path / json_file.NAME if path.is_dir() else path
