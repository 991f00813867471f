import re
from dataclasses import replace

import pytest

from harness.core import expectations
from harness.core.errors import UsageError
from harness.core.expectations import Expectation
from harness.core.results import CaseResult, Cell, CellResult, Status
from harness.core.schema import Case, Stage

CELL = Cell("m", "torch", "torch-dynamo", "fp32", "ort-cpu")
ROW = Expectation("m/torch/torch-dynamo/*", Stage.CHECK, "length baked", "https://example.org/1")


@pytest.mark.parametrize(
    ("status", "stage", "expected"),
    [
        (Status.FAIL, Stage.CHECK, Status.XFAIL),
        (Status.FAIL, Stage.RUN, Status.FAIL),
        (Status.PASS, Stage.COMPARE, Status.XPASS),
        (Status.ERROR, Stage.CHECK, Status.ERROR),
        (Status.UNAVAILABLE, Stage.LOAD, Status.UNAVAILABLE),
    ],
)
def test_expectations_are_strict(status, stage, expected):
    judged = expectations.judge(CellResult(CELL, status, stage, "what happened"), [ROW])
    assert judged.status is expected
    if status is not Status.UNAVAILABLE:
        assert "length baked" in judged.reason


@pytest.mark.parametrize(
    ("status", "stage", "expected"),
    [
        (Status.PASS, Stage.COMPARE, Status.PASS),
        (Status.FAIL, Stage.RUN, Status.XFAIL),
        (Status.FAIL, Stage.CHECK, Status.XFAIL),
        (Status.FAIL, Stage.EXPORT, Status.FAIL),
    ],
)
def test_a_run_of_some_cases_may_pass_or_fail_later(status, stage, expected):
    result = CellResult(CELL, status, stage, "what happened")
    assert expectations.judge(result, [ROW], partial=True).status is expected


REVERSAL = replace(ROW, stage=Stage.LOAD, relation="reversal")


def with_cases(**failing):
    """A cell whose golden cases and relations were tried; those named fail at a stage."""
    cases = []
    for relation in ("", "reversal", "padding"):
        stage = failing.get(relation or "golden")
        status = Status.FAIL if stage else Status.PASS
        case = Case({"sequence": 1}, 1)
        cases.append(CaseResult(case, status, stage or Stage.COMPARE, relation=relation))
    first = next(iter(failing.values()), Stage.COMPARE)
    return CellResult(CELL, Status.FAIL if failing else Status.PASS, first, cases=tuple(cases))


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ({"reversal": Stage.LOAD}, Status.XFAIL),
        ({"reversal": Stage.RUN}, Status.FAIL),
        ({"padding": Stage.LOAD}, Status.FAIL),
        ({"reversal": Stage.LOAD, "padding": Stage.LOAD}, Status.FAIL),
        ({"golden": Stage.LOAD}, Status.FAIL),
        ({}, Status.XPASS),
    ],
)
def test_a_row_may_tell_of_one_relation(failing, expected):
    assert expectations.judge(with_cases(**failing), [REVERSAL]).status is expected
    assert expectations.judge(with_cases(**failing), [ROW, REVERSAL]).status is (
        Status.XPASS if not failing else Status.FAIL
    )


def test_a_row_of_a_relation_that_is_not_tried_tells_nothing():
    passing = with_cases()
    untried = replace(passing, cases=passing.cases[:1])
    assert expectations.judge(untried, [REVERSAL]) is untried
    at_load = CellResult(CELL, Status.FAIL, Stage.LOAD)
    assert expectations.judge(at_load, [REVERSAL]) is at_load


def test_a_cell_without_a_row_stays_as_it_is():
    other = CellResult(Cell("m", "torch", "native", "fp32", "ort-cpu"), Status.FAIL, Stage.RUN)
    assert expectations.judge(other, [ROW]) is other


def test_rows_are_read(tmp_path):
    path = tmp_path / "rows.toml"
    path.write_text('[[expect]]\ncell = "m/*"\nstage = "run"\nreason = "r"\nupstream = "u"\n')
    assert expectations.load(path) == [Expectation("m/*", Stage.RUN, "r", "u")]
    path.write_text(path.read_text().replace('"r"', '"Größe"'), "utf-8")
    assert expectations.load(path)[0].reason == "Größe"
    with pytest.raises(UsageError, match=r"none\.toml: No such file"):
        expectations.load(tmp_path / "none.toml")


ROW_TEXT = 'cell = "m"\nstage = "run"\nreason = "r"\nupstream = ""\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[expect]]\n" + ROW_TEXT.replace("run", "later"), "stage = 'later'; expected one of"),
        ("[[expect]]\n" + ROW_TEXT.replace('"r"', '""'), "row 1: reason = ''; expected a text"),
        ("[[expect]]\n" + ROW_TEXT.replace('"r"', "7"), "row 1: reason = 7; expected a text"),
        ("[[expect]]\n" + ROW_TEXT.replace('"m"', '["m"]'), "row 1: cell = ['m']"),
        ('[[expect]]\ncell = "m"\nstage = "run"', "row 1 needs exactly cell, stage, reason"),
        ("[[expect]]\n" + ROW_TEXT + "more = 1", "it has: cell, stage, reason, upstream, more"),
        ("[[expect]]\ncell = ", "is not usable TOML"),
        (
            "[[expects]]\n" + ROW_TEXT,
            "expected [[expect]] tables and nothing else; it has: expects",
        ),
        ("[expect]\n" + ROW_TEXT, "no list of tables"),
        ("expect = 1", "no list of tables"),
        ("expect = [1]", "no list of tables"),
        ("cell = 5", "nothing else; it has: cell"),
    ],
)
def test_an_unusable_table_is_one_line(tmp_path, text, message):
    path = tmp_path / "rows.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)) as raised:
        expectations.load(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_rows_that_match_nothing_are_found():
    assert expectations.unused([ROW], ["m/torch/native/fp32/ort-cpu"]) == [ROW]
    assert expectations.unused([ROW], [CELL.id]) == []
