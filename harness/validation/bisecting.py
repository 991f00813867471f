"""Versions of a runtime, halved until it is known since which one a cell fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from packaging.version import Version

from harness.core.results import CellResult, Report, Status
from harness.core.versioned import GOOD, split
from harness.validation.job import Job
from harness.validation.pipeline import Prepared, machine


def rounds(prepared: Prepared, judge: Callable[[Prepared], Report], command: str) -> Report:
    """Return one report of all that ``judge`` was asked for.

    Of the versions of one cell these are the first, the last and, where one is good and the other
    is not, the one in the middle between a good one and one that is not, until they are neighbours.
    """
    groups: dict[tuple[str, ...], list[Job]] = {}
    results: dict[int, CellResult] = {}
    todo: list[Job] = []
    for job in prepared.jobs:
        name, version = split(job.cell.runtime)
        if version is None:
            todo.append(job)
        else:
            about = (str(job.golden.folder), job.cell.id.rpartition("/")[0], name)
            groups.setdefault(about, []).append(job)
    for group in groups.values():
        group.sort(key=lambda job: split(job.cell.runtime)[1] or Version("0"))
        todo += group[:1] + group[1:][-1:]
    partial = False
    while todo and not partial:
        report = judge(replace(prepared, jobs=todo))
        results |= {id(job): result for job, result in zip(todo, report.results, strict=False)}
        partial = report.partial
        todo = [job for group in groups.values() for job in _next(group, results)]
    judged = tuple(results[id(job)] for job in prepared.jobs if id(job) in results)
    return Report(command, machine(), judged, partial)


def _next(group: Sequence[Job], results: dict[int, CellResult]) -> list[Job]:
    """Return the version to judge next, if there is one between two that differ."""
    known = [
        (place, results[id(job)].status in GOOD)
        for place, job in enumerate(group)
        if id(job) in results and results[id(job)].status is not Status.UNAVAILABLE
    ]
    for (low, first), (high, second) in pairwise(known):
        between = [job for job in group[low + 1 : high] if id(job) not in results]
        if first != second and between:
            return [between[len(between) // 2]]
    return []
