"""Whether a report that was read contradicts itself: each verdict, again, from what it rests on.

Each function returns what is wrong, in words that follow the name of what was judged; nothing
where all is consistent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from harness.core.along import STRETCHES
from harness.core.errors import UsageError
from harness.core.names import check_path_part, visible
from harness.core.results import CaseResult, CellResult, OutputComparison, Status
from harness.core.schema import Case, Stage
from harness.core.summary import count

INTEGERS = 2**64
FIGURES = ("max_abs", "max_rel", "max_ulp", "noise_floor", "tolerance", "ratio")
ROUNDED = 1.06
"""How much larger a number of two digits may be than the one that it stands for."""
PASSING = (Status.PASS, Status.XPASS)


def of_cell(result: CellResult, cases_by_status: Mapping[Status, int]) -> str:
    """Return what is wrong with a cell, of whose cases so many have each status."""
    status, stage = result.status, result.stage
    parts = (vars(result.cell)[name] for name in result.cell.__dataclass_fields__)
    if wrong := _names(parts, path_parts=True):
        return wrong
    if not result.replay.isprintable():
        return f"its replay {visible(result.replay)} is not printable"
    if not 0 <= result.seconds < math.inf:
        return f"seconds is {result.seconds}, expected a number from 0 on"
    cases = sum(cases_by_status.values())
    if status is Status.UNAVAILABLE:
        return f"it is unavailable and has {count(cases, 'case')}" if cases else ""
    crashed = cases_by_status.get(Status.ERROR, 0)
    if crashed and status is not Status.ERROR:
        return f"it is {status} and {crashed} of {count(cases, 'case')} are of status error"
    failing = cases - cases_by_status.get(Status.PASS, 0)
    if status not in PASSING:
        known = status is Status.XFAIL and stage is Stage.COMPARE and cases and not failing
        return "it is xfail at compare and every case passes" if known else ""
    if stage is not Stage.COMPARE:
        return f"it is {status} at stage {stage}, expected compare"
    if not cases:
        return f"it is {status} and has no case"
    if failing and not (status is Status.XPASS and _of_several(result)):
        return f"it is {status} and {failing} of {count(cases, 'case')} do not pass"
    return ""


def of_case(case: Case, result: CaseResult) -> str:
    """Return what is wrong with a case and how it was judged."""
    sizes = {"batch": case.batch, "draw": case.draw, **case.lengths}
    if wrong := _names((*case.lengths, *filter(None, [result.relation]))):
        return wrong
    for name, size in sizes.items():
        if not 0 <= size < INTEGERS:
            return f"{name} is {size}, expected a whole number from 0 on"
    if not 0 <= result.seconds < math.inf:
        return f"seconds is {result.seconds}, expected a number from 0 on"
    for output in result.outputs:
        if wrong := of_output(output):
            return f"output {visible(output.name)}: {wrong}"
    status = result.status
    if status not in (Status.PASS, Status.FAIL, Status.ERROR):
        return f"it is {status}, expected pass, fail or error"
    bad = next((output.name for output in result.outputs if output.reason), None)
    if status is Status.PASS:
        if bad is not None:
            return f"it is pass and output {visible(bad)} does not conform"
        if result.stage is not Stage.COMPARE or not result.outputs:
            what = "no outputs" if not result.outputs else f"stage {result.stage}"
            return f"it is pass and has {what}, expected outputs that were compared"
        return f"it is pass and has a reason: {visible(result.reason)}" if result.reason else ""
    if result.outputs and bad is None:
        return f"it is {status} and every output conforms"
    if result.outputs and (status is Status.ERROR or result.stage is not Stage.COMPARE):
        return f"it is {status} at stage {result.stage} and has outputs that were compared"
    return ""


def of_output(output: OutputComparison) -> str:
    """Return what is wrong with the figures of one output."""
    if wrong := _names([output.name]):
        return wrong
    for name in FIGURES:
        figure = getattr(output, name)
        if not 0 <= figure < math.inf:
            return f"{name} is {figure}, expected a number from 0 on"
    steps, compared, worst = output.steps, output.steps_compared, output.worst_step
    whole = (*output.worst_index, worst or 0, output.max_ulp, steps)
    if not all(0 <= number < INTEGERS for number in whole):
        return "max_ulp, steps, worst_index or worst_step is no whole number from 0 on"
    if not min(steps, 1) <= compared <= steps:
        return f"{compared} of {steps} steps were compared"
    tolerance = output.tolerance
    ratio = output.max_abs / tolerance if tolerance else output.max_abs
    if not math.isclose(output.ratio, ratio, rel_tol=1e-6, abs_tol=1e-300):
        return f"ratio is {output.ratio:g}, but max_abs / tolerance is {ratio:g}"
    along = [each for each in output.by_step if each is not None]
    if len(output.by_step) > min(steps, STRETCHES):
        return f"by_step has {len(output.by_step)} entries for {count(steps, 'step')}"
    most = math.inf if output.reason else output.ratio * ROUNDED
    if not all(0 <= each <= most and each < math.inf for each in along):
        return f"by_step has a ratio below 0, or beyond {output.ratio:g}, the largest"
    if not output.reason and output.ratio > (1 if tolerance else 0):
        return f"ratio is {output.ratio:g}, beyond the tolerance, and it has no reason"
    return ""


def _names(names: Iterable[str], path_parts: bool = False) -> str:
    for name in names:
        try:
            if path_parts:
                check_path_part(name, "name")
            elif not name or not name.isprintable():
                return f"the name {name!r} is empty or not printable"
        except UsageError as error:
            return str(error)
    return ""


def _of_several(result: CellResult) -> bool:
    """Return whether a cell was merged from several reports, of which one may have failed it."""
    reports = result.evidence.get("reports")
    return isinstance(reports, list) and len(reports) > 1
