"""harness.core.projection and the comparison of every step by it."""

from dataclasses import replace

import numpy as np
import pytest

from harness.core.compare import compare
from harness.core.projection import Projection, projected
from harness.core.schema import Case, GoldenCase, ModelSpec, TensorSpec
from harness.core.tolerance import Row

ROW = Row(4.0, "a test's")
RNG = np.random.default_rng(11)


def golden(exact, steps, dtype="float32", axes=("batch", "time", 6)):
    tensor = TensorSpec("y", dtype, axes)
    spec = ModelSpec("m", "", (), (tensor,), "m")
    case = Case({"time": exact.shape[1]}, exact.shape[0])
    sums = projected(tensor, exact, 8.0)
    noise = 0.0 if dtype != "float32" else 1e-6
    held = exact[:, steps]
    return spec, GoldenCase(
        case, {}, {"y": held}, np.array(steps), {"y": noise / 4}, {"y": 1.0},
        projections={"y": Projection(sums, 8.0, noise)},
    )  # fmt: skip


def compared(exact, actual, **options):
    spec, case = golden(exact, [0, 19], **options)
    (output,) = compare(spec, case, [("y", actual)], ROW)
    return output


def test_an_error_between_the_stored_steps_is_seen_with_its_place():
    exact = RNG.normal(size=(3, 20, 6))
    actual = exact.astype(np.float32)
    output = compared(exact, actual)
    assert not output.reason
    assert (output.steps, output.steps_compared) == (20, 20)
    actual[2, 7, 4] += 1e-4
    output = compared(exact, actual)
    assert "at step 7 of row 2" in output.reason
    assert (output.worst_index, output.worst_step) == ((2, 7), 7)


def test_equal_and_opposite_errors_do_not_cancel():
    exact = RNG.normal(size=(1, 20, 6))
    for first in range(6):
        for second in range(first):
            for sign in (1, -1):
                actual = exact.astype(np.float32)
                actual[0, 5, first] += 1e-3
                actual[0, 5, second] += sign * 1e-3
                assert compared(exact, actual).reason, (first, second, sign)


def test_fills_hide_nothing_and_infinity_and_nan_are_seen():
    exact = RNG.normal(size=(2, 20, 6))
    exact[:, 3, 5] = -1e9
    actual = exact.astype(np.float32)
    assert not compared(exact, actual).reason
    actual[1, 3, 2] += 1e-3
    assert "step 3 of row 1" in compared(exact, actual).reason
    exact[0, 9, 0] = np.inf
    actual = exact.astype(np.float32)
    assert not compared(exact, actual).reason
    actual[0, 9, 0] = -np.inf
    assert compared(exact, actual).reason
    actual[0, 9, 0] = np.nan
    assert compared(exact, actual).reason


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_other_than_floats_are_compared_exactly(dtype):
    exact = RNG.integers(0, 2, (2, 20, 6)).astype(dtype)
    assert not compared(exact, exact, dtype=dtype).reason
    actual = exact.copy()
    actual[1, 8, 3] = 1 - actual[1, 8, 3].astype(int)
    assert "step 8 of row 1" in compared(exact, actual, dtype=dtype).reason


def test_the_batch_may_be_on_any_axis_or_none():
    tensor = TensorSpec("y", "float32", (4, "time", "batch"))
    value = RNG.normal(size=(4, 5, 3))
    sums = projected(tensor, value, 8.0)
    assert sums.shape == (3, 5)
    moved = replace(tensor, axes=("batch", "time", 4))
    assert np.allclose(projected(moved, value.transpose(2, 1, 0), 8.0), sums)
    assert projected(replace(tensor, axes=("time", 4)), value[:, :, 0].T, 8.0).shape == (1, 5)
