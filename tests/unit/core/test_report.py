"""What a report says of itself in Python."""

from dataclasses import replace

import pytest

import harness
from harness import NonconformanceError
from harness.core import summary
from harness.core.errors import DOES_NOT_CONFORM
from harness.core.results import Status
from tests.unit.reports.test_reports import case, report, result

PASS, FAIL = result(Status.PASS, [case()]), result(Status.FAIL, reason="2 of 3 cases")


@pytest.mark.parametrize(
    ("judged", "conforms"),
    [
        (report(PASS), True),
        (report(PASS, result(Status.UNAVAILABLE)), True),
        (report(PASS, FAIL), False),
        (report(PASS, result(Status.XFAIL)), False),
        (report(PASS, result(Status.XPASS)), False),
        (report(PASS, result(Status.ERROR)), False),
        (report(result(Status.UNAVAILABLE)), False),
        (report(result(Status.PASS)), False),
        (report(), False),
        (replace(report(PASS), partial=True), False),
    ],
)
def test_it_is_true_where_everything_judged_conforms_and_something_was(judged, conforms):
    assert judged.conforms is bool(judged) is conforms
    if conforms:
        judged.raise_for_status()
        assert summary.exit_code(judged) == 0
    else:
        with pytest.raises(NonconformanceError) as caught:
            judged.raise_for_status()
        assert caught.value.exit_code == DOES_NOT_CONFORM


def test_its_text_says_which_cell_fails_and_why():
    lines = str(report(PASS, FAIL)).splitlines()
    assert lines == [
        "pass        tagger/torch/native/fp32/ort-cpu",
        "fail        tagger/torch/native/fp32/ort-cpu: compare: 2 of 3 cases",
    ]
    assert str(report()) == "no cell was judged"
    assert isinstance(report(PASS), harness.Report)
