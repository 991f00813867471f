"""harness.recording.magnitudes: errors by magnitude, for outputs with rare features alone."""

from pathlib import Path

import numpy as np
import pytest

from harness.core.compare import compare
from harness.core.schema import Case
from harness.core.tolerance import Row
from harness.goldens import store
from harness.recording.magnitudes import Errors, earlier, of_rare, rare

GOLDEN = Path(__file__).parents[3] / "golden" / "sequence_decoder" / "torch"


def recorded(largest, noise=1e-7):
    """A case whose second feature is never larger."""
    y = np.array([[0.9, largest], [0.4, largest / 9]])
    case = store.RecordedCase(
        Case({"time": 2}, 1), {}, {}, {"y": y, "n": np.ones(2, int)}, None, {}
    )
    return Errors({"y": noise, "n": 0.0}, {"y": {-1: (2, noise)}}).of(case)


@pytest.mark.parametrize(("largest", "found"), [(0.3, set()), (5e-5, {"y"})])
def test_an_output_with_a_feature_near_the_noise_keeps_its_errors_by_magnitude(largest, found):
    cases = [recorded(largest), recorded(largest / 10)]
    assert rare(cases) == found
    assert {name for case in of_rare(cases) for name in case.bands} == found
    assert rare([*cases, recorded(0.3), recorded(0.3)]) == set()


def test_errors_of_more_runs_are_the_largest_of_all():
    errors = Errors({"y": 2.0}, {"y": {0: (3, 2.0)}})
    errors.add(Errors({"y": 1.0, "z": 4.0}, {"y": {0: (3, 1.0), -2: (1, 0.5)}}))
    assert errors == Errors({"y": 2.0, "z": 4.0}, {"y": {0: (6, 2.0), -2: (1, 0.5)}})


def test_what_a_golden_has_of_the_same_outputs_counts(tmp_path):
    golden = store.read(GOLDEN)
    loaded = golden.load(golden.cases[0])
    same = store.RecordedCase(loaded.case, {}, {}, loaded.outputs, None, {})
    other = store.RecordedCase(loaded.case, {}, {}, {"probabilities": np.ones(3)}, None, {})
    (known, unknown), runs = earlier(GOLDEN, [same, other])
    assert known.noise["probabilities"] > 0
    assert known.by_band["probabilities"]
    assert (unknown, runs) == (Errors({}), golden.manifest["float32_runs"])
    assert earlier(tmp_path, [same]) == ([Errors({})], 0)


def test_a_rare_class_of_a_reference_model_that_is_a_hundredth_off_fails():
    golden = store.read(GOLDEN)
    case = golden.load(next(case for case in golden.cases if case.longest == 4))
    (name,) = case.outputs
    right = case.outputs[name].astype(np.float32)
    rarest = int(np.argmin(right.reshape(-1, right.shape[-1]).max(axis=0)))
    wrong = right.copy()
    wrong[..., rarest] *= np.float32(1.01)
    row = Row(6.0, "a test's")
    assert not compare(golden.spec, case, [(name, right)], row)[0].reason
    assert compare(golden.spec, case, [(name, wrong)], row)[0].reason
