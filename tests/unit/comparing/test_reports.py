"""Two reports: what fails now, what passes again, whose errors grew, and what is missing."""

from dataclasses import replace

import pytest

from harness.comparing import reports
from harness.comparing.change import BAD, Comparison, Word
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case, Stage

CELL = Cell("m", "torch", "native", "fp32", "ort-cpu")


def output(ratio, reason=""):
    return OutputComparison("y", ratio, 0.0, 1, 0.1, 1.0, ratio, (0, 2), 2, reason, 9, 4)


def case(length, ratio, status=Status.PASS, relation=""):
    outputs = (output(ratio, "too far" if status is Status.FAIL else ""),)
    return CaseResult(Case({"t": length}, 3), status, Stage.COMPARE, "", outputs, 0.1, relation)


def cell(*cases, status=Status.PASS, name="m", reason=""):
    return CellResult(replace(CELL, model=name), status, Stage.COMPARE, reason, {}, cases)


def changed(before, after, budget=2.0):
    runs = (Report("a", {}, tuple(run)) for run in (before, after))
    return [*reports.changes(*runs, budget)]


@pytest.mark.parametrize(
    ("before", "after", "budget", "word"),
    [
        (0.2, 0.39, 2, Word.SAME),
        (0.2, 0.41, 2, Word.WORSE),
        (0.2, 0.41, 3, Word.SAME),
        (0.41, 0.2, 2, Word.BETTER),
        (0.41, 0.2, 3, Word.SAME),
        (0.001, 0.1, 2, Word.SAME),  # below a tenth of the tolerance
        (0.0, 0.21, 2, Word.WORSE),
        (0.9, 0.001, 2, Word.BETTER),
    ],
)
def test_an_error_may_grow_by_the_budget(before, after, budget, word):
    (change,) = changed([cell(case(7, before))], [cell(case(7, after))], budget)
    assert (change.word, change.before, change.after) == (word, before, after)
    assert change.compared == 1
    assert bool(change.reason) == (word is not Word.SAME)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (Status.PASS, Status.FAIL, Word.NEWLY_FAILING),
        (Status.PASS, Status.UNAVAILABLE, Word.NEWLY_FAILING),
        (Status.PASS, Status.XFAIL, Word.NEWLY_FAILING),
        (Status.XFAIL, Status.FAIL, Word.NEWLY_FAILING),
        (Status.UNAVAILABLE, Status.ERROR, Word.NEWLY_FAILING),
        (Status.FAIL, Status.PASS, Word.MENDED),
        (Status.XFAIL, Status.XPASS, Word.MENDED),
        (Status.ERROR, Status.UNAVAILABLE, Word.MENDED),
        (Status.ERROR, Status.FAIL, Word.SAME),
    ],
)
def test_a_status_farther_from_a_pass_is_newly_failing(before, after, word):
    (change,) = changed([cell(status=before)], [cell(status=after, reason="why")])
    assert change.word is word
    if word is Word.NEWLY_FAILING:
        assert change.reason == f"{after} at compare: why"


def test_cells_and_comparisons_that_are_missing_are_worse_and_new_ones_are_not():
    kept, lost = cell(case(7, 0.2), name="a"), cell(case(7, 0.2), name="b")
    changes = changed([kept, lost], [cell(case(8, 0.2), name="a"), cell(case(7, 0.2), name="c")])
    assert [c.word for c in changes] == [Word.MISSING, Word.MISSING, Word.ADDED]
    assert "1 comparison less" in changes[0].reason
    (change,) = changed([], [cell(status=Status.FAIL)])
    assert change.word is Word.NEWLY_FAILING


def test_more_cases_that_fail_in_a_cell_that_failed_are_worse():
    first = cell(case(7, 3.0, Status.FAIL), case(8, 0.9), status=Status.FAIL)
    second = cell(case(7, 3.0, Status.FAIL), case(8, 1.1, Status.FAIL), status=Status.FAIL)
    (change,) = changed([first], [second])
    assert change.word is Word.WORSE
    assert "t8-b3" in change.reason
    assert changed([second], [first])[0].word is not Word.WORSE


def test_nan_in_place_of_a_small_error_is_worse_by_any_budget():
    first, second = (
        cell(case(7, 3.0, Status.FAIL), replace(case(8, 0.0, s), outputs=(output(0.0, why),)),
             status=Status.FAIL)
        for s, why in ((Status.FAIL, ""), (Status.FAIL, "NaN in other places"))
    )  # fmt: skip
    assert changed([first], [second], 1e9)[0].word is Word.WORSE


def test_relations_and_cells_of_one_name_are_told_apart():
    twice = [cell(case(7, 0.2)), cell(case(7, 0.8))]
    assert [c.word for c in changed(twice, twice)] == [Word.SAME, Word.SAME]
    own = cell(case(7, 0.2), case(7, 0.8, relation="padding"))
    assert changed([own], [own])[0].compared == 2
    assert [c.word for c in changed(twice, twice[::-1])] == [Word.WORSE, Word.BETTER]


@pytest.mark.parametrize("word", Word)
def test_the_exit_code_is_1_for_what_is_worse_and_4_for_nothing(word):
    (change,) = changed([cell(case(7, 0.2))], [cell(case(7, 0.2))])
    both = Comparison("reports", "a", "b", "", [change, replace(change, word=word)])
    assert both.exit_code == (1 if word in BAD else 0)
    nothing = Comparison("reports", "a", "b", "", [replace(change, word=word, compared=0)])
    assert nothing.exit_code == (1 if word in BAD else 4)
