"""One report from several of a matrix: shards, and machines that each ran what they can."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from harness.core.errors import UsageError
from harness.core.names import visible
from harness.core.results import TF32_IN, CellResult, Report, Status
from harness.reports.stored import with_more
from harness.reports.uniting import RANK, united

Judged = tuple[str, CellResult]
"""The name of a report, and how it judged a cell."""

OF_ONE_RUN = ("--shard", "--report-dir", "--artifacts", "--workers", "--timeout", "--memory-limit")
"""Options with a value that do not change which cells there are."""
MISSING = 100
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
    by_cell: dict[str, tuple[Judged, ...]] = {}
    for name, report in parts.items():
        for result in report.results:
            cell = result.cell.id
            judged = by_cell.get(cell, ())
            if any(name == other for other, _ in judged):
                raise UsageError(f"{visible(name)} has the cell {visible(cell)} twice")
            by_cell[cell] = (*judged, (name, result))
    for cell, judged in by_cell.items():
        _check_one_golden(cell, judged)
    evidence: dict[tuple[str, ...], Mapping[str, Any]] = {}
    results = []
    for judged in by_cell.values():
        names = tuple(name for name, _ in judged)
        results.append(_united(judged, evidence.setdefault(names, {"reports": list(names)})))
    missing = (*_unfinished(parts), *_missing_shards(parts))
    environment = _environment(parts)
    return Merged(Report(command, environment, tuple(results), bool(missing)), missing)


def _check_one_golden(cell: str, judged: Iterable[Judged]) -> None:
    report_by_golden = {
        str(result.evidence["golden"]): name
        for name, result in judged
        if "golden" in result.evidence
    }
    if len(report_by_golden) > 1:
        first, other = list(report_by_golden.values())[:2]
        raise UsageError(
            f"{visible(first)} and {visible(other)} judged {visible(cell)} by different goldens:"
            " give each model a name of its own (export --name), or record both goldens alike"
        )


def _united(judged: Sequence[Judged], more: Mapping[str, Any]) -> CellResult:
    """Return the worst of a cell's results, with the cases of all and more evidence."""
    cases, ratios = united([result.cases for _, result in judged])
    ranks = [RANK.index(result.status) for _, result in judged]
    worst = judged[max(range(len(judged)), key=lambda n: (ranks[n], ratios[n]))][1]
    by_verdict: dict[str, list[str]] = {}
    for name, result in judged:
        by_verdict.setdefault(_verdict(result), []).append(name)
    reason = worst.reason
    if len(by_verdict) > 1:
        verdicts = (f"{verdict} in {', '.join(names)}" for verdict, names in by_verdict.items())
        reason = f"{'; '.join(verdicts)}: {reason}".removesuffix(": ")
    wider = [name for name, result in judged if result.tf32]
    if wider and not worst.tf32:
        more = {**more, TF32_IN: wider}
    return replace(worst, reason=reason, evidence=with_more(worst.evidence, more), cases=cases)


def _verdict(result: CellResult) -> str:
    at = "" if result.status in (Status.PASS, Status.UNAVAILABLE) else f" at {result.stage.value}"
    return f"{result.status.value}{at}"


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
    """Return a line for each missing I/N of a selection of which another part is there.

    Of very many, ``MISSING`` are told, and how many more there are.
    """
    shards: dict[tuple[str, int], dict[int, str]] = {}
    for name, report in parts.items():
        if shard := re.fullmatch(
            r"(\d{1,18})/(\d{1,18})", str(report.environment.get("shard", ""))
        ):
            number, count = map(int, shard.groups())
            shards.setdefault((_selection(report.command), count), {})[number] = name
    lines = []
    for (selection, count), names in shards.items():
        there = f"{next(iter(names.values()))} is {next(iter(names))}/{count} of {selection}"
        missing = (number for number in range(1, count + 1) if number not in names)
        told = [f"shard {n}/{count} is missing: {there}" for n in islice(missing, MISSING)]
        more = count - len(told) - sum(1 <= number <= count for number in names)
        lines += told
        if more:
            lines.append(f"{more:,} more shards of {count:,} are missing: {there}")
    return lines


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
