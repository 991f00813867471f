"""How far an output may lie from the oracle."""

import numpy as np
import pytest

from harness.core.tolerance import largest_finite, one_ulp, rounded_scale, scale_of


def filled(fill):
    x = np.random.default_rng(1).normal(size=(4, 9))
    x[2:, 5:] = fill
    return x


@pytest.mark.parametrize("fill", [-1e9, -1e4, float(np.finfo(np.float32).min), 0.0, -np.inf])
def test_a_fill_is_no_scale(fill):
    value = filled(fill)
    computed = float(np.abs(filled(0.0)).max())
    assert rounded_scale(value) == computed
    assert scale_of(0.0, value) == computed
    assert scale_of(7.0, value) == 7.0


def test_what_float32_holds_to_the_bit_has_a_scale_all_the_same():
    assert rounded_scale(np.array([0.5, -2.0])) == 0.0
    assert scale_of(0.0, np.array([0.5, -2.0, np.nan])) == 2.0


def test_one_ulp_is_finite_everywhere():
    largest = float(np.finfo(np.float32).max)
    assert one_ulp(1.0) == 2.0**-23
    assert one_ulp(largest) == one_ulp(-1e300) == 2.0**103


def test_the_largest_finite_magnitude_is_that_of_any_numbers():
    assert largest_finite(np.array([[1, -3], [np.nan, -np.inf]], np.float32)) == 3.0
    assert largest_finite(np.array([-(2**63), 5])) == 2.0**63
    assert largest_finite(np.array([False, True])) == 1.0
    assert largest_finite(np.array([np.nan])) == largest_finite(np.array([])) == 0.0
    assert largest_finite(np.array(["a"])) == largest_finite(np.array(["a"], object)) == 0.0
