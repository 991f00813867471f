"""One report from several of a matrix: shards, and machines that each ran what they can."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.core.errors import UsageError
from harness.core.results import CaseResult, CellResult, OutputComparison, Report, Status

RANK = (
    Status.UNAVAILABLE,
    Status.PASS,
    Status.XFAIL,
    Status.XPASS,
    Status.FAIL,
    Status.ERROR,
)
"""From the least to the worst: a cell unavailable on one machine may be judged on another."""
OF_ONE_RUN = ("--shard", "--report-dir", "--artifacts", "--workers", "--timeout", "--memory-limit")
"""Options with a value that do not change which cells there are."""
SHOWN = ("-v", "--verbose", "-q", "--quiet", "--json", "--isolate", "--no-isolate")


@dataclass(frozen=True)
class Merged:
    """One report of all cells, and a line for each part that is missing from it."""

    report: Report
    missing: tuple[str, ...]


def merge(parts: Mapping[str, Report], command: str) -> Merged:
    """Return the reports, by their names, as one.

    Each cell is there once, with the cases of every report that has it, and its evidence names
    those reports. The environment holds what they share, and under ``reports`` each one's own. The
    report is ``partial`` where one of them is, or where a shard is missing. UsageError where one
    report has a cell twice, or two have it of different goldens: those are different models.
    """
    by_cell: dict[str, dict[str, CellResult]] = {}
    for name, report in parts.items():
        for result in report.results:
            results_by_report = by_cell.setdefault(result.cell.id, {})
            if name in results_by_report:
                raise UsageError(f"{name} has the cell {result.cell.id} twice")
            results_by_report[name] = result
    for cell, results_by_report in by_cell.items():
        _check_one_golden(cell, results_by_report)
    results = [_united(by_report) for by_report in by_cell.values()]
    missing = (*_unfinished(parts), *_missing_shards(parts))
    environment = _environment(parts)
    return Merged(Report(command, environment, tuple(results), bool(missing)), missing)


def _check_one_golden(cell: str, results: Mapping[str, CellResult]) -> None:
    golden_by_report = {
        name: result.evidence["golden"]
        for name, result in results.items()
        if "golden" in result.evidence
    }
    if len(set(golden_by_report.values())) > 1:
        first, other = list({g: name for name, g in golden_by_report.items()}.values())[:2]
        raise UsageError(
            f"{first} and {other} judged {cell} by different goldens: give each model a name of its"
            " own (export --name), or record both goldens alike"
        )


def _united(results: Mapping[str, CellResult]) -> CellResult:
    """Return the worst of a cell's results by report, with the cases of all."""
    worst = max(
        results.values(),
        key=lambda r: _badness(r.status, (o for case in r.cases for o in case.outputs)),
    )
    cases: dict[tuple[str, bool, str], CaseResult] = {}
    for case in (case for result in results.values() for case in result.cases):
        key = case.case.id, case.case.repeat, case.relation
        cases[key] = max(cases.get(key, case), case, key=lambda c: _badness(c.status, c.outputs))
    by_verdict: dict[str, list[str]] = {}
    for name, result in results.items():
        by_verdict.setdefault(_verdict(result), []).append(name)
    reason = worst.reason
    if len(by_verdict) > 1:
        verdicts = (f"{verdict} in {', '.join(names)}" for verdict, names in by_verdict.items())
        reason = f"{'; '.join(verdicts)}: {reason}".removesuffix(": ")
    evidence = {**worst.evidence, "reports": list(results)}
    return replace(worst, reason=reason, evidence=evidence, cases=tuple(cases.values()))


def _verdict(result: CellResult) -> str:
    at = "" if result.status in (Status.PASS, Status.UNAVAILABLE) else f" at {result.stage.value}"
    return f"{result.status.value}{at}"


def _badness(status: Status, outputs: Iterable[OutputComparison]) -> tuple[int, float]:
    return RANK.index(status), max((output.ratio for output in outputs), default=0.0)


def _environment(parts: Mapping[str, Report]) -> dict[str, Any]:
    """Return what all environments share, and each report's command and environment."""
    first, *others = [dict(report.environment) for report in parts.values()]
    shared = {k: v for k, v in first.items() if all(k in o and o[k] == v for o in others)}
    about = [
        {
            "report": name,
            "command": report.command,
            "partial": report.partial,
            "environment": dict(report.environment),
        }
        for name, report in parts.items()
    ]
    return {**shared, "reports": about}


def _unfinished(parts: Mapping[str, Report]) -> list[str]:
    return [
        f"{name} is partial: it lacks cells that were asked for"
        for name, report in parts.items()
        if report.partial
    ]


def _missing_shards(parts: Mapping[str, Report]) -> list[str]:
    """Return a line for each missing I/N of a selection of which another part is there."""
    shards: dict[tuple[str, int], dict[int, str]] = {}
    for name, report in parts.items():
        if shard := re.fullmatch(r"(\d+)/(\d+)", str(report.environment.get("shard", ""))):
            number, count = map(int, shard.groups())
            shards.setdefault((_selection(report.command), count), {})[number] = name
    return [
        f"shard {number}/{count} is missing: {next(iter(names.values()))} is"
        f" {next(iter(names))}/{count} of {selection}"
        for (selection, count), names in shards.items()
        for number in range(1, count + 1)
        if number not in names
    ]


def _selection(command: str) -> str:
    """Return a command line without the options that leave the cells as they are."""
    kept, skip = [], False
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    for word in words:
        name, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif name in OF_ONE_RUN:
            skip = not equals
        elif word not in SHOWN:
            kept.append(word)
    return shlex.join(kept)
