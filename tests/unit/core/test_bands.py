"""harness.core.bands: noise by the magnitude of values."""

import numpy as np
import pytest

from harness.core import bands
from harness.core.bands import LOWEST, drowned, floors, measured, merged

RNG = np.random.default_rng(5)


def floor_of(table, value):
    return floors(table)[bands.band_of(np.array([value]))][0]


@pytest.mark.parametrize(
    ("value", "band"), [(1.0, 0), (7.9, 0), (8.0, 1), (-0.5, -1), (1e-9, -10), (-1e9, 9)]
)
def test_a_band_is_from_a_power_of_eight_to_the_next(value, band):
    assert bands.band_of(np.array([value]))[0] + LOWEST == band


def test_what_has_no_magnitude_is_with_the_smallest():
    assert (bands.band_of(np.array([0.0, np.nan, np.inf, 1e-300])) == 0).all()


def test_the_rounding_of_a_fill_is_no_allowance_for_what_stands_beside_it():
    values = np.concatenate([RNG.uniform(1, 8, 500), np.full(500, -1e9)])
    errors = np.concatenate([RNG.uniform(0, 1e-6, 500), RNG.uniform(0, 64, 500)])
    table = measured(values, errors)
    assert floor_of(table, 3.0) < 1e-6
    assert 60 < floor_of(table, -1e9) < 64


def test_few_values_take_the_error_of_their_neighbours_but_not_of_a_far_fill():
    values = np.array([0.2, 0.3, *RNG.uniform(1, 8, 100), *np.full(100, 1e9)])
    errors = np.array([0.0, 0.0, *np.full(100, 1e-6), *np.full(100, 64.0)])
    assert floor_of(measured(values, errors), 0.25) == 1e-6


def test_zeros_have_the_floor_of_the_smallest_values():
    values = np.array([0.0, *RNG.uniform(1, 8, 100)])
    table = measured(values, np.array([5e-7, *np.full(100, 1e-7)]))
    assert floor_of(table, 0.0) == 5e-7
    assert floor_of(measured(np.zeros(9), np.zeros(9)), 0.0) == 0.0


def test_bands_of_several_cases_together():
    one, other = {0: (3, 1e-7), 2: (1, 5e-7)}, {0: (4, 3e-7)}
    assert merged([one, other]) == {0: (7, 3e-7), 2: (1, 5e-7)}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({0: (100, 1e-6)}, None),
        ({0: (100, 1e-2)}, (1e-2, 8.0)),
        ({0: (100, 1e-2), 9: (50, 64.0)}, (1e-2, 8.0)),
        ({-16: (100, 1e-7), 0: (90, 1e-7)}, None),
        ({}, None),
    ],
)
def test_a_fill_hides_no_chaos_and_differences_of_large_values_are_none(table, expected):
    assert drowned(table) == expected
