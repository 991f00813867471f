"""What a trial keeps of the case that caught a mutant."""

import pytest

from harness.core.results import CaseResult, OutputComparison, Status
from harness.core.schema import Case, Raggedness, Stage
from harness.goldens import store
from harness.mutation import trial
from harness.mutation.defects.defect import Mutant
from harness.mutation.trial import Court, Trial, Verdict
from harness.oracle.runtime import ORACLE
from tests.support import tiny_golden
from tests.support.jobs import ready


def output(ratio, reason):
    return OutputComparison(
        name="y",
        max_abs=ratio,
        max_rel=ratio,
        max_ulp=0,
        noise_floor=1.0,
        tolerance=1.0,
        ratio=ratio,
        worst_index=(0,),
        worst_step=None,
        reason=reason,
    )


@pytest.mark.parametrize(
    ("outputs", "ratio"),
    [
        ([output(0.5, ""), output(3.0, "error")], 3.0),
        ([output(1e-6, "1 values are not finite")], None),
        ([output(1e-6, "1 values are not finite"), output(2.0, "error")], 2.0),
    ],
)
def test_the_ratio_is_that_of_an_error_beyond_the_tolerance(outputs, ratio):
    case = Case({"t": 3}, 2, Raggedness.NONE)
    result = CaseResult(case, Status.FAIL, Stage.COMPARE, "why", tuple(outputs))
    caught = trial._caught(Trial("kind", "place", None, Verdict.MISSED), result)
    assert (caught.verdict, caught.lengths, caught.batch) == (Verdict.CAUGHT, {"t": 3}, 2)
    assert caught.ratio == ratio


def test_a_certain_defect_that_no_case_shows_is_missed_and_never_equivalent(tmp_path):
    model, folder = tiny_golden.make(tmp_path)
    court = Court(ready(store.read(folder), model, ORACLE), ORACLE)

    def hidden(subject):
        yield Mutant("somewhere", wrap=lambda session: session, certain=True)
        yield Mutant("nowhere", wrap=lambda session: session)

    tried = []
    court.try_all({"hidden": hidden}, [], lambda done, trial: tried.extend([trial] * done))
    verdicts = {trial.place: (trial.verdict, trial.reason) for trial in tried}
    assert verdicts["somewhere"] == (Verdict.MISSED, "no case shows it")
    assert verdicts["nowhere"][0] is Verdict.EQUIVALENT
