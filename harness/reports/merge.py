"""Several reports of one matrix as one: shards, and machines that each ran what they can."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.core.schema import CaseResult, CellResult, OutputComparison, Report, Status

RANK = (
    Status.UNAVAILABLE,
    Status.PASS,
    Status.XFAIL,
    Status.XPASS,
    Status.FAIL,
    Status.ERROR,
)
"""From what says least of a cell to what is worst: unavailable on one machine, it may be judged
on another."""
OF_ONE_RUN = ("--shard", "--report-dir", "--artifacts", "--workers", "--timeout", "--memory-limit")
"""Options with a value that do not change which cells there are."""
SHOWN = ("-v", "--verbose", "-q", "--quiet", "--json", "--isolate", "--no-isolate")


@dataclass(frozen=True)
class Merged:
    """One report of all cells, and a line for each part that is missing from it."""

    report: Report
    missing: tuple[str, ...]


def merge(parts: Mapping[str, Report], command: str) -> Merged:
    """The reports, by their names, as one.

    Each cell is there once, with the cases of every report that has it, and its evidence names
    those reports. The environment holds what they share, and under ``reports`` what each was. The
    report is ``partial`` where one of them is, or where a shard is missing.
    """
    found: dict[str, dict[str, CellResult]] = {}
    for name, report in parts.items():
        for result in report.results:
            found.setdefault(result.cell.id, {})[name] = result
    results = [_united(told) for told in found.values()]
    missing = (*_unfinished(parts), *_missing_shards(parts))
    environment = _environment(parts)
    return Merged(Report(command, environment, tuple(results), bool(missing)), missing)


def _united(told: Mapping[str, CellResult]) -> CellResult:
    """The worst of a cell's results, by the names of their reports, with the cases of all."""
    worst = max(told.values(), key=_badness)
    cases: dict[tuple[str, bool, str], CaseResult] = {}
    for case in (case for result in told.values() for case in result.cases):
        key = case.case.id, case.case.repeat, case.relation
        cases[key] = max(cases.get(key, case), case, key=_case_badness)
    said: dict[str, list[str]] = {}
    for name, result in told.items():
        said.setdefault(_told(result), []).append(name)
    reason = worst.reason
    if len(said) > 1:
        verdicts = (f"{verdict} in {', '.join(names)}" for verdict, names in said.items())
        reason = f"{'; '.join(verdicts)}: {reason}".removesuffix(": ")
    evidence = {**worst.evidence, "reports": list(told)}
    return replace(worst, reason=reason, evidence=evidence, cases=tuple(cases.values()))


def _told(result: CellResult) -> str:
    whole = result.status in (Status.PASS, Status.UNAVAILABLE)
    return result.status.value if whole else f"{result.status.value} at {result.stage.value}"


def _badness(result: CellResult) -> tuple[int, float]:
    return RANK.index(result.status), _worst(o for case in result.cases for o in case.outputs)


def _case_badness(result: CaseResult) -> tuple[int, float]:
    return RANK.index(result.status), _worst(result.outputs)


def _worst(outputs: Iterable[OutputComparison]) -> float:
    return max((output.ratio for output in outputs), default=0.0)


def _environment(parts: Mapping[str, Report]) -> dict[str, Any]:
    """What all environments share, and each report's command, environment and whether partial."""
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
    """A line for each I/N that no report is, where another of the same selection is one of N."""
    there: dict[tuple[str, int], dict[int, str]] = {}
    for name, report in parts.items():
        if shard := re.fullmatch(r"(\d+)/(\d+)", str(report.environment.get("shard", ""))):
            number, count = map(int, shard.groups())
            there.setdefault((_selection(report.command), count), {})[number] = name
    return [
        f"shard {number}/{count} is missing: {next(iter(names.values()))} is"
        f" {next(iter(names))}/{count} of {selection}"
        for (selection, count), names in there.items()
        for number in range(1, count + 1)
        if number not in names
    ]


def _selection(command: str) -> str:
    """A command line without what does not change which cells there are."""
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
