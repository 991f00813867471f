"""The oracle judged by the cases that onnx generates for each operator of the standard."""

from collections import defaultdict

import pytest

from harness.onnx_operators.cases import AGREED, NOT_COMPARED, REFUSED, collect, judge
from harness.oracle.runtime import ORACLE
from harness.runtimes.guard import GuardedRuntime

pytestmark = pytest.mark.slow

REASONS = {
    "the oracle evaluates 13 and later": "load",
    "is evaluated in float32 by onnx": "load",
    "BitCast requires input and output types to have the same bit-width": "run",
    "Pillow must be installed": "run",
    " in float32": "run",
}


def verdict(case, path):
    """``agreed``, ``wrong``, ``not compared``, or why the oracle refuses the case."""
    outcome = judge(case, GuardedRuntime(ORACLE), path)
    if outcome.kind != REFUSED:
        return outcome.kind
    stage, _, reason = outcome.reason.partition(": ")
    why = [words for words, at in REASONS.items() if words in reason and stage == at]
    return why[0] if why else f"unexplained: {outcome.reason}"


@pytest.mark.xdist_group("oracle_operators")
def test_the_operator_cases_of_onnx(tmp_path):
    cases = collect()
    by_verdict = defaultdict(list)
    for case in cases:
        by_verdict[verdict(case, tmp_path / "m.onnx")].append(case)
    explained = {AGREED, NOT_COMPARED, *REASONS}
    bad = {why: [c.name for c in cs] for why, cs in by_verdict.items() if why not in explained}
    assert not bad
    recurrent = {case.name for case in cases if case.recurrent}
    agreeing = {case.name for case in by_verdict[AGREED]}
    assert recurrent
    assert recurrent <= agreeing
    assert len(agreeing - recurrent) >= 1200
