"""The floor for a pass: what was planned, what is compared of it, and what a cell says."""

import json

import pytest

from harness.core.errors import GoldenError
from harness.core.results import Status
from harness.core.schema import Case, Raggedness, Stage
from harness.goldens import manifest, store
from harness.oracle.runtime import ORACLE
from harness.reports import console
from harness.validation import floor
from tests.support import tiny_golden
from tests.support.jobs import judged, ready

RIGHT = {"raggedness": Raggedness.RIGHT}


def cell(tmp_path, *left_out):
    """What the oracle makes of the tiny model, of whose cases some were left out; and its golden.

    Compared are the lengths 1, 7, 7 and 40.
    """
    model, folder = tiny_golden.make(tmp_path)
    path = folder / store.MANIFEST
    entries = [manifest.entry_of(case) for case in left_out]
    path.write_text(
        manifest.text(manifest.signed({**json.loads(path.read_text()), "uncompared": entries}))
    )
    return judged(ready(store.read(folder), model, ORACLE))


def left_out(*lengths, **more):
    return [Case({"sequence": length}, 9, **more) for length in lengths]


def test_a_golden_of_all_that_was_planned_passes_and_says_so(tmp_path):
    result = cell(tmp_path)
    assert result.status is Status.PASS
    counts = {"cases": [4, 4], "lengths": [3, 3], "paddings": [1, 1]}
    assert result.evidence["coverage"]["compared"] == counts
    assert "planned" not in console.text(result)


def test_a_few_cases_less_are_told_and_pass(tmp_path):
    result = cell(tmp_path, *left_out(7))
    assert result.status is Status.PASS
    assert "(1 of 5 planned ones cannot be compared)" in console.text(result)


@pytest.mark.parametrize(
    ("cases", "counts"),
    [
        (left_out(7, 1), "4 of 6 cases, 3 of 3 lengths, 1 of 1 paddings"),
        (left_out(7, **RIGHT), "4 of 5 cases, 3 of 3 lengths, 1 of 2 paddings"),
    ],
)
def test_too_few_cases_or_no_padded_one_fail(tmp_path, cases, counts):
    result = cell(tmp_path, *cases)
    assert (result.status, result.stage) == (Status.FAIL, Stage.COMPARE)
    assert result.reason.startswith(f"only {counts} could be compared")
    assert len(result.cases) > 0


def test_a_length_that_only_uncompared_cases_have_counts():
    enough = {"cases": [9, 10], "lengths": [3, 4], "paddings": [2, 2]}
    assert floor.lack(enough) == ""
    assert floor.lack({**enough, "lengths": [2, 3]}) != ""


def test_a_golden_that_says_nothing_of_it_is_left_as_it_is(tmp_path):
    model, folder = tiny_golden.make(tmp_path)
    result = judged(ready(store.read(folder), model, ORACLE))
    assert result.status is Status.PASS
    assert "coverage" not in result.evidence


def test_a_part_of_a_golden_says_nothing_of_it(tmp_path):
    cell(tmp_path, *left_out(7, 1))
    golden = store.read(tmp_path / "golden")
    assert "uncompared" not in manifest.part(golden.manifest, golden.cases[:1])


def test_cases_of_another_model_are_refused(tmp_path):
    with pytest.raises(GoldenError, match=r"uncompared\[0\]: lengths of time; expected"):
        cell(tmp_path, Case({"time": 3}, 1))
