"""A report that contradicts itself is refused, in one line that says where; no honest one is."""

import json
from dataclasses import replace

import pytest

from harness import merge
from harness.commands.run import ended
from harness.core.expectations import Expectation, judge
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case, Stage
from harness.reports import json_file
from harness.reports import merge as merging

OUTPUT = OutputComparison("y", 0.5, 0.0, 1, 0.1, 1.0, 0.5, (0, 2), 2, "", 9, 4)
BEYOND = replace(OUTPUT, max_abs=5.0, ratio=5.0, reason="error 5 is 5 times the tolerance 1")
CELL = Cell("m", "torch", "native", "fp32", "ort-cpu")
PASSING = CaseResult(Case({"tokens": 7}, 3), Status.PASS, Stage.COMPARE, "", (OUTPUT,), 0.25)
FAILING = replace(PASSING, status=Status.FAIL, outputs=(BEYOND,), reason="output y: error")
CRASHED = replace(PASSING, status=Status.ERROR, stage=Stage.RUN, outputs=(), reason="lost")


def report(*cases, status=Status.PASS, stage=Stage.COMPARE, **kwargs):
    result = CellResult(CELL, status, stage, "", {"version": "1"}, cases, 0.5, "replay x")
    return Report("python -m harness.validate", {}, (replace(result, **kwargs),))


def forged(original, folder, place, value):
    """Write a report of which the entry at a place of its only cell is another."""
    path = json_file.write(original, folder)
    data = json.loads(path.read_text())
    (holder,) = data["results"]
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    data["summary"] = {
        **dict.fromkeys(data["summary"], 0),
        "cells": 1,
        "comparisons": sum(len(case["outputs"]) for case in data["results"][0]["cases"]),
        data["results"][0]["status"]: 1,
    }
    path.write_text(json.dumps(data))
    return path


CASE = ("cases", 0)
FIRST = (*CASE, "outputs", 0)
IN_OUTPUT = "m/torch/native/fp32/ort-cpu: tokens=7, batch=3: output y: "
IN_CASE = "m/torch/native/fp32/ort-cpu: tokens=7, batch=3: "
FORGED = [
    (PASSING, (*FIRST, "ratio"), 5.0, IN_OUTPUT + "ratio is 5, but max_abs / tolerance is 0.5"),
    (PASSING, (*FIRST, "max_abs"), 0.1, IN_OUTPUT + "ratio is 0.5, but max_abs / tolerance is 0.1"),
    (PASSING, (*FIRST, "tolerance"), 0, IN_OUTPUT + "ratio is 0.5, beyond the tolerance, and it"),
    (FAILING, (*FIRST, "reason"), "", IN_OUTPUT + "ratio is 5, beyond the tolerance, and it has"),
    (PASSING, (*FIRST, "steps_compared"), 10**9, IN_OUTPUT + "1000000000 of 9 steps were compared"),
    (PASSING, (*FIRST, "steps_compared"), 0, IN_OUTPUT + "0 of 9 steps were compared"),
    (PASSING, (*FIRST, "steps"), -1, IN_OUTPUT + "max_ulp, steps, worst_index or worst_step is no"),
    (PASSING, (*FIRST, "noise_floor"), -1, IN_OUTPUT + "noise_floor is -1.0, expected a number"),
    (PASSING, (*FIRST, "max_ulp"), -1, IN_OUTPUT + "max_ulp is -1, expected a number from 0 on"),
    (PASSING, (*FIRST, "worst_index"), [0, -2], IN_OUTPUT + "max_ulp, steps, worst_index or"),
    (PASSING, (*FIRST, "worst_step"), -2, IN_OUTPUT + "max_ulp, steps, worst_index or worst_step"),
    (PASSING, (*FIRST, "worst_step"), 10**20, IN_OUTPUT + "max_ulp, steps, worst_index or"),
    (PASSING, (*FIRST, "by_step"), [0.6], IN_OUTPUT + "by_step has a ratio below 0, or beyond 0.5"),
    (FAILING, (*FIRST, "by_step"), [-1.0], IN_OUTPUT + "by_step has a ratio below 0"),
    (PASSING, (*FIRST, "by_step"), [0.1] * 10, IN_OUTPUT + "by_step has 10 entries for 9 steps"),
    (PASSING, (*FIRST, "name"), "y\n::error::", r"output y\n::error::: the name 'y\n::error::'"),
    (PASSING, (*FIRST, "name"), "", "the name '' is empty or not printable"),
    (PASSING, (*FIRST, "reason"), "far", IN_CASE + "it is pass and output y does not conform"),
    (FAILING, (*CASE, "status"), "pass", IN_CASE + "it is pass and output y does not conform"),
    (PASSING, (*CASE, "outputs"), [], IN_CASE + "it is pass and has no outputs"),
    (PASSING, (*CASE, "stage"), "run", IN_CASE + "it is pass and has stage run"),
    (PASSING, (*CASE, "reason"), "odd", IN_CASE + "it is pass and has a reason: odd"),
    (PASSING, (*CASE, "status"), "xfail", IN_CASE + "it is xfail, expected pass, fail or error"),
    (PASSING, (*CASE, "status"), "fail", IN_CASE + "it is fail and every output conforms"),
    (FAILING, (*CASE, "status"), "error", IN_CASE + "it is error at stage compare and has outputs"),
    (PASSING, (*CASE, "batch"), -3, "tokens=7, batch=-3: batch is -3, expected a whole number"),
    (PASSING, (*CASE, "lengths"), {"tokens": -7}, "tokens is -7, expected a whole number from 0"),
    (PASSING, (*CASE, "lengths"), {"\x1b[2K": 7}, r"the name '\x1b[2K' is empty or not printable"),
    (PASSING, (*CASE, "relation"), "a\u202e", r"the name 'a\u202e' is empty or not printable"),
    (PASSING, (*CASE, "seconds"), -1.0, IN_CASE + "seconds is -1.0, expected a number from 0 on"),
    (PASSING, ("seconds",), -1.0, "ort-cpu: seconds is -1.0, expected a number from 0 on"),
    (PASSING, ("replay",), "x\r", r"ort-cpu: its replay x\r is not printable"),
    (PASSING, ("stage",), "load", "ort-cpu: it is pass at stage load, expected compare"),
    (PASSING, ("cases",), [], "ort-cpu: it is pass and has no case"),
    (FAILING, ("status",), "pass", "ort-cpu: it is pass and 1 of 1 case do not pass"),
    (FAILING, ("status",), "xpass", "ort-cpu: it is xpass and 1 of 1 case do not pass"),
    (PASSING, ("status",), "unavailable", "ort-cpu: it is unavailable and has 1 case"),
    (PASSING, ("status",), "xfail", "ort-cpu: it is xfail at compare and every case passes"),
    (CRASHED, ("status",), "xfail", "ort-cpu: it is xfail and 1 of 1 case are of status error"),
    (PASSING, ("id",), "m/torch/../fp32/ort-cpu", "name: '..'; expected a name of at most"),
    (PASSING, ("id",), "m/torch/native/fp32/a\n::b", "a name of at most"),
]


@pytest.mark.parametrize(("case", "place", "value", "message"), FORGED)
def test_what_contradicts_is_told_in_one_line(tmp_path, case, place, value, message, capsys):
    status = Status.ERROR if case is CRASHED else case.status
    original = report(case, status=status, stage=case.stage)
    assert json_file.read(json_file.write(original, tmp_path)) == original
    path = forged(original, tmp_path, place, value)
    assert ended(merge.main, [str(path), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {path} ")
    assert message in told
    assert told.removesuffix("\n").isprintable()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "written",
    [
        report(PASSING, reason="pass in a; unavailable in b"),
        report(replace(PASSING, outputs=(replace(OUTPUT, max_abs=0.0, tolerance=0.0, ratio=0.0),))),
        report(replace(PASSING, outputs=(replace(OUTPUT, steps=0, steps_compared=0),))),
        report(replace(PASSING, outputs=(replace(OUTPUT, by_step=(None, 0.52, 0.0)),))),
        report(replace(FAILING, outputs=(replace(BEYOND, by_step=(7.0,)),)), status=Status.FAIL),
        report(PASSING, status=Status.XPASS, reason="expected to fail"),
        report(PASSING, status=Status.FAIL, stage=Stage.RUN, reason="its evidence is lost"),
        report(FAILING, PASSING, status=Status.FAIL),
        report(FAILING, status=Status.XFAIL),
        report(replace(FAILING, outputs=(replace(OUTPUT, reason="NaN"),)), status=Status.FAIL),
        report(CRASHED, FAILING, status=Status.ERROR, stage=Stage.RUN),
        report(status=Status.UNAVAILABLE, stage=Stage.LOAD, replay=""),
        report(status=Status.XFAIL, stage=Stage.EXPORT),
    ],
    ids=lambda written: f"{written.results[0].status}-{len(written.results[0].cases)}",
)
def test_what_validate_may_write_is_read(tmp_path, written):
    assert json_file.read(json_file.write(written, tmp_path)) == written


def test_a_merged_report_can_be_merged_again(tmp_path):
    rows = [Expectation(CELL.id, Stage.COMPARE, "known", "")]
    results = [report(PASSING).results[0], report(FAILING, status=Status.FAIL).results[0]]
    parts = {
        each.status.value: replace(report(), results=(each,))
        for each in (judge(result, rows) for result in results)
    }
    assert list(parts) == ["xpass", "xfail"]
    joined = merging.merge(parts, "python -m harness.merge").report
    path = json_file.write(joined, tmp_path)
    assert json_file.read(path) == joined
    (result,) = joined.results
    assert (result.status, result.cases[0].status) == (Status.XPASS, Status.FAIL)
