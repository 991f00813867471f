"""harness.goldens.every_step: a golden of some steps that tells of an error at any."""

from dataclasses import replace

import numpy as np
import pytest

from harness.core.compare import compare
from harness.core.tolerance import Row
from harness.goldens import every_step, store
from harness.oracle.runtime import ORACLE
from tests.support import tiny_golden


@pytest.fixture(name="made")
def _made(tmp_path):
    model, folder = tiny_golden.make(tmp_path)
    session = ORACLE.prepare(model)

    def complete(case):
        return replace(case, outputs=dict(session.run(case.inputs)), steps=None)

    thin = store.read(folder)
    every_step.write(thin, complete, tmp_path / "whole")
    return thin, store.read(tmp_path / "whole"), session


def test_it_has_the_same_cases_and_a_projection_where_steps_are_left_out(made):
    thin, whole, _ = made
    assert not thin.has_every_step
    assert whole.has_every_step
    assert [case.id for case in whole.cases] == [case.id for case in thin.cases]
    held = {case.longest: set(whole.load(case).projections) for case in whole.cases}
    assert held.pop(tiny_golden.PARTLY) == {"y"}
    assert not any(held.values())


def test_an_error_at_a_step_that_is_not_held_fails(made):
    thin, whole, session = made
    for golden, seen in ((thin, False), (whole, True)):
        case = golden.load(golden.cases[-1])
        outputs = [(n, np.float32(v)) for n, v in session.run(case.inputs)]
        compared = compare(golden.spec, case, outputs, Row(4.0, "a test's"))
        assert not any(output.reason for output in compared)
        assert (compared[0].steps_compared == compared[0].steps) == seen
        outputs[0][1][25, 0, 1, 0] += 1e-4
        compared = compare(golden.spec, case, outputs, Row(4.0, "a test's"))
        assert ("at step 25 of row 1" in compared[0].reason) == seen
