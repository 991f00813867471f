from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.core import bands
from harness.core.compare import compare, structure
from harness.core.projection import Projection, projected
from harness.core.schema import Case, GoldenCase, ModelSpec, TensorSpec
from harness.core.tolerance import Row, one_ulp

SPEC = ModelSpec("m", "", (), (TensorSpec("y", "float32", ("batch", "sequence", 2)),), weights="m")
FINITE = st.floats(-1e6, 1e6, width=32)
ROW = Row(6.0, "as any")


def golden(expected, floor=1e-6, steps=None, length=None):
    expected = np.asarray(expected, np.float64)
    case = Case({"sequence": length or expected.shape[1]}, expected.shape[0])
    return GoldenCase(case, {}, {"y": expected}, steps, {"y": floor})


def verdict(actual, expected, **kwargs):
    (output,) = compare(SPEC, golden(expected, **kwargs), [("y", actual)], ROW)
    return output


@given(hnp.arrays(np.float32, (2, 3, 2), elements=FINITE))
def test_the_rounded_golden_conforms(values):
    output = verdict(values, values.astype(np.float64))
    assert (output.reason, output.max_abs, output.max_ulp, output.ratio) == ("", 0, 0, 0)


@given(
    hnp.arrays(np.float32, (1, 4, 2), elements=st.floats(-1, 1, width=32)),
    st.integers(0, 3),
    st.integers(0, 1),
    st.floats(1e-9, 1.0),
)
def test_the_verdict_is_exactly_error_over_tolerance(values, step, feature, error):
    expected = values.astype(np.float64)
    expected[0, step, feature] += error
    output = verdict(values, expected)
    assert output.ratio == pytest.approx(output.max_abs / output.tolerance)
    assert bool(output.reason) == (output.max_abs > output.tolerance)
    assert output.worst_step == step
    assert output.worst_index == (0, step, feature)
    assert output.by_step == tuple(float(f"{output.ratio:.2g}") * (n == step) for n in range(4))


@given(
    hnp.arrays(np.float64, (1, 2, 2), elements=st.floats(0.5, 1e3)),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.integers(0, 3),
)
def test_a_value_that_is_not_finite_fails_at_any_tolerance(expected, bad, place):
    actual = expected.astype(np.float32)
    actual.reshape(-1)[place] = bad
    assert verdict(actual, expected, floor=1e30).reason


@pytest.mark.parametrize("axes", [("batch", "sequence", 2), (2, "sequence", "batch")])
@pytest.mark.parametrize("steps", [None, [0, 3]])
def test_padded_steps_that_mean_nothing_are_not_compared(axes, steps):
    """The second row has two valid steps of four; the oracle has NaN after them."""
    ids = TensorSpec("ids", "int64", ("batch", "sequence"), 1, 9)
    y = TensorSpec("y", "float32", axes)
    spec = ModelSpec("m", "", (ids,), (y,), "m", padded="ids", valid_only=True)
    case = Case({"sequence": 4}, 2)
    values = np.arange(16.0).reshape(2, 4, 2)
    expected = values.copy()
    expected[1, 2:] = np.nan
    turned = (0, 1, 2) if axes[0] == "batch" else (2, 1, 0)
    whole = y.at_steps(expected.transpose(turned), None if steps is None else np.array(steps))
    inputs = {"ids": np.array([[1, 2, 3, 4], [5, 6, 0, 0]])}

    def judged(spec, changes):
        actual = values.astype(np.float32).transpose(turned).copy()
        for (row, step), value in changes.items():
            actual.transpose(turned)[row, step, 1] = value
        golden = GoldenCase(case, inputs, {"y": whole}, steps and np.array(steps), {"y": 1e-6})
        (output,) = compare(spec, golden, [("y", actual)], ROW)
        return output.reason

    assert not judged(spec, {(1, 3): np.nan, (1, 2): 7e9})
    assert judged(spec, {(1, 0): 99})
    assert judged(spec, {(0, 3): np.nan})
    assert judged(replace(spec, valid_only=False), {})


def test_what_the_expected_output_may_be_off_is_allowed_for_in_a_projection_too():
    expected = np.random.default_rng(0).uniform(-1, 1, (2, 9, 2))
    sums = projected(SPEC.outputs[0], expected, 1e9)
    steps = np.array([0, 8])
    row = Row(1e-12, "exact", full_precision=True)
    held = golden(expected[:, steps], steps=steps, length=9)
    held = replace(held, projections={"y": Projection(sums, 1e9, 0.0)})

    def reason(error, off=0.0):
        case = replace(held, expected_error={"y": off} if off else {})
        return compare(SPEC, case, [("y", expected + error)], row)[0].reason

    assert not reason(0)
    one_step = 1e-9 * (np.arange(9) == 4)[None, :, None]
    assert "projection" in reason(one_step)
    (output,) = compare(SPEC, held, [("y", expected + one_step)], row)
    assert [step for step, ratio in enumerate(output.by_step) if ratio] == [4]
    assert not reason(1e-9, off=1e-9)
    assert reason(1e-7, off=1e-9)


def test_infinity_and_nan_in_the_same_places_conform():
    expected = np.array([[[np.inf, np.nan], [-np.inf, 1.0]]])
    assert not verdict(expected.astype(np.float32), expected).reason
    assert verdict(-expected.astype(np.float32), expected).reason
    assert verdict(expected[:, :, ::-1].astype(np.float32), expected).reason


def test_a_negative_golden_does_not_widen_the_tolerance():
    expected = np.full((1, 2, 2), -5.0)
    output = verdict(-expected.astype(np.float32), expected)
    assert output.reason
    assert output.max_rel == 2.0
    assert output.tolerance > 0


def test_nan_outside_the_stored_steps_fails():
    actual = np.zeros((1, 5, 2), np.float32)
    actual[0, 3, 1] = np.nan
    stored = golden(np.zeros((1, 2, 2)), steps=np.array([0, 4]), length=5)
    (output,) = compare(SPEC, stored, [("y", actual)], ROW)
    assert "[0, 3, 1]" in output.reason


def test_the_worst_step_is_the_step_of_the_whole_output():
    actual = np.zeros((1, 100, 2), np.float32)
    actual[0, 97, 1] = 1
    stored = golden(np.zeros((1, 3, 2)), steps=np.array([0, 50, 97]), length=100)
    (output,) = compare(SPEC, stored, [("y", actual)], ROW)
    assert output.worst_step == 97
    assert output.worst_index == (0, 97, 1)


def test_ulps_are_counted_across_zero():
    tiny = np.nextafter(np.float32(0), np.float32(1))
    expected = np.full((1, 1, 2), -tiny, np.float64)
    assert verdict(np.full((1, 1, 2), tiny, np.float32), expected).max_ulp == 2


def test_the_tolerance_of_an_exact_zero_is_one_smallest_step():
    assert 0 < one_ulp(0.0) < 1e-40


@pytest.mark.parametrize(
    ("actual", "word"),
    [
        ([], "missing output y"),
        ([("y", np.zeros((1, 3, 2), np.float32))] * 2, "extra output y"),
        ([("z", np.zeros((1, 3, 2), np.float32))], "missing output y"),
        ([("y", np.zeros((1, 3, 2)))], "float64, expected float32"),
        ([("y", np.zeros((1, 2, 3), np.float32))], "has shape (1, 2, 3), expected (1, 3, 2)"),
        ([("y", np.zeros((1, 3, 2, 1), np.float32))], "has shape"),
    ],
)
def test_structure_is_compared_before_values(actual, word):
    assert word in structure(SPEC, golden(np.zeros((1, 3, 2))), actual)


def banded(expected, error):
    """A golden whose errors were measured by magnitude, as of a user model's own."""
    expected = np.asarray(expected, np.float64)
    floors = bands.floors(bands.measured(expected, np.broadcast_to(error, expected.shape)))
    whole = golden(expected, floor=float(np.max(error)))
    return replace(whole, band_floors={"y": floors}, scale={"y": float(np.abs(expected).max())})


def filled():
    scores = np.random.default_rng(2).normal(size=(4, 50, 2))
    expected = np.where(np.arange(50)[:, None] < 30, scores, -1e9 - scores)
    return expected, np.where(expected < -1e8, 32.0, 1e-7)


def test_a_fill_allows_nothing_to_the_values_beside_it():
    expected, error = filled()
    honest = expected.astype(np.float32)
    (output,) = compare(SPEC, banded(expected, error), [("y", honest)], ROW)
    assert (output.reason, output.ratio <= 1) == ("", True)
    for wrong in (np.where(expected > -1e8, 0, honest), np.where(expected > -1e8, 1.1, 1) * honest):
        (output,) = compare(SPEC, banded(expected, error), [("y", wrong.astype(np.float32))], ROW)
        assert output.ratio > 1e4
        assert output.worst_step < 30
        assert output.ratio == pytest.approx(output.max_abs / output.tolerance)


def test_a_small_channel_has_a_tolerance_of_its_own():
    expected = np.random.default_rng(3).uniform(1, 8, (4, 50, 2)) * [1e4, 1e-3]
    error = np.abs(expected) * 5e-8
    honest = expected.astype(np.float32)
    assert not compare(SPEC, banded(expected, error), [("y", honest)], ROW)[0].reason
    wrong = honest * np.float32([1, 1.001])
    assert compare(SPEC, banded(expected, error), [("y", wrong)], ROW)[0].ratio > 100


def test_an_operators_own_error_is_allowed_at_the_output_that_it_gives():
    expected = np.full((1, 40, 2), 1e-9)
    actual = (expected + 1.2e-7).astype(np.float32)
    case = banded(expected, 1e-16)
    assert compare(SPEC, case, [("y", actual)], ROW)[0].reason
    row = replace(ROW, at_outputs={"y": 1.3e-7})
    assert not compare(SPEC, case, [("y", actual)], row)[0].reason
    assert compare(SPEC, case, [("y", actual * 3)], row)[0].reason
