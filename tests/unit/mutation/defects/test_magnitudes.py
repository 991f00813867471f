"""What is small beside the rest: which numbers are changed, and by how much."""

import numpy as np
import pytest

from harness.graphs.edit import Edit
from harness.mutation.defects import magnitudes
from tests.support.mutants import IDS, planted, pointwise, run, tagger

WEIGHTS = {"table", "W", "R", "B", "kernel", "bias"}


def values(mutant, name):
    return Edit(tagger().model).value(name), Edit(mutant.model).value(name)


def departures(defect):
    sound = run(tagger().model, {"ids": IDS})["y"]
    mutants = planted(defect, tagger()).items()
    return {p: np.abs(run(m.model, {"ids": IDS})["y"] - sound).max() for p, m in mutants}


def test_every_tensor_is_a_tenth_too_large_and_too_small():
    mutants = planted(magnitudes.weights_off_by_a_tenth, tagger())
    assert set(mutants) == {f"{name} {sign}0.1" for name in WEIGHTS for sign in "+-"}
    for sign, factor in (("+", 1.1), ("-", 0.9)):
        before, after = values(mutants[f"kernel {sign}0.1"], "kernel")
        np.testing.assert_allclose(after, factor * before, rtol=1e-6)


def test_the_smallest_value_of_a_bias_alone_is_changed():
    mutants = planted(magnitudes.smallest_bias_off, tagger())
    before, after = values(mutants["bias"], "bias")
    assert set(mutants) == {"bias"}
    assert [*np.flatnonzero(before != after)] == [np.abs(before).argmin()]


def test_the_last_layer_tells():
    (zeroed,) = planted(magnitudes.last_layer_zeroed, tagger()).values()
    assert not values(zeroed, "kernel")[1].any()
    assert min(departures(magnitudes.last_layer_zeroed).values()) > 1e-3


def test_a_bound_and_a_fill_are_moved():
    x = np.array([[[-3e8, -1, 0, 0.5, 2]]], np.float32)
    clip = pointwise("Clip", {"low": np.float32(0), "high": np.float32(1)})
    mutants = planted(magnitudes.bounds_altered, clip)
    low, high = (run(mutants[f"Clip 0 input {n}"].model, {"x": x})["y"] for n in (1, 2))
    np.testing.assert_allclose(low, [[[0.01, 0.01, 0.01, 0.5, 1]]])
    np.testing.assert_allclose(high, [[[0, 0, 0, 0.5, 1.01]]])
    fill = pointwise("Max", {"fill": np.float32(-1e9)})
    (halved,) = planted(magnitudes.fills_halved, fill).values()
    assert run(halved.model, {"x": 10 * x})["y"].min() == -5e8
    infinite = pointwise("Max", {"fill": np.float32(-np.inf)})
    assert not planted(magnitudes.fills_halved, infinite)


@pytest.mark.parametrize(
    ("defect", "place", "wrong"),
    [
        (magnitudes.small_values_off, "y", lambda x: np.abs(x) < 1e-3 * np.abs(x).max()),
        (magnitudes.early_steps_off, "y", lambda x: np.arange(9)[:, None] < [3] * 5),
        (magnitudes.one_feature_off, "y feature 4", lambda x: np.arange(5) == 4),
    ],
)
def test_a_part_of_an_output_is_a_hundredth_off(defect, place, wrong):
    x = np.random.default_rng(0).normal(size=(2, 9, 5)).astype(np.float32)
    x[..., 1] *= 1e-4
    y = run(planted(defect, pointwise("Identity"))[place].model, {"x": x})["y"]
    where = np.broadcast_to(wrong(x), x.shape)
    np.testing.assert_array_equal(y, np.where(where, x * np.float32(1.01), x))
    assert where.any()
    assert not where.all()
