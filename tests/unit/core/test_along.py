import numpy as np
import pytest

from harness.core.along import STRETCHES, along, larger

NAN = float("nan")


@pytest.mark.parametrize("steps", [2, 63, 64, 65, 100, 128, 4096])
def test_each_step_counts_in_the_stretch_that_it_lies_in(steps):
    count = min(steps, STRETCHES)
    for step in (0, 1, steps // 3, steps - 2, steps - 1):
        ratios = np.zeros((2, steps, 3))
        ratios[1, step, 2] = 0.51239
        (at,) = np.flatnonzero(along(ratios, 1, None, steps))
        assert at * steps // count <= step < (at + 1) * steps // count
        assert max(along(ratios, 1, None, steps)) == 0.51


def test_a_step_that_is_not_held_or_not_finite_is_none():
    ratios = np.array([[0.25, NAN, 0.5]])
    assert along(ratios, 1, [0, 2, 5], 6) == (0.25, None, None, None, None, 0.5)
    assert along(np.array([0.25, NAN] * 64), 0, None, 128) == (0.25,) * 64


def test_the_largest_number_stays_one():
    most = np.finfo(np.float64).max
    assert along(np.array([1.0, most]), 0, None, 2) == (1.0, most)


def test_without_two_steps_there_is_nothing():
    assert along(np.ones((2, 3)), None, None, 1) == along(np.ones((2, 1)), 1, None, 1) == ()
    assert along(np.ones((0, 3)), 1, None, 3) == ()


def test_the_larger_of_two_has_what_either_has():
    assert larger((None, 0.5, 2.0), (0.25, None, 3.0)) == (0.25, 0.5, 3.0)
    assert larger((None,), (0.25, 1.0)) == (None,)
    assert larger((), ()) == ()
