import math
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.goldens import noise_floor
from harness.goldens.noise_floor import Usual

SIZES = st.integers(1, 5000)


@pytest.fixture
def near(monkeypatch):
    """One case is enough to tell what is usual at a length."""
    monkeypatch.setattr(noise_floor, "ENOUGH", 1)


def at(noise, largest=()):
    """What is usual of one output ``y``, from its noise and largest value by length."""
    lengths = [{"t": length} for length, _ in noise]
    return Usual(lengths, {"y": [n for _, n in noise]}, {"y": list(largest) or [1.0] * len(noise)})


def test_the_noise_floor_is_that_of_its_lengths(near):
    usual = at([(1, 1e-7), (4, 4e-7), (9, 9e-7), (30, 3e-6)])
    assert usual.noise_floor("y", {"t": 4}) == 4e-7
    assert usual.noise_floor("y", {"t": 30}) == 3e-6


def test_a_lucky_case_has_the_floor_that_is_usual_nearby(near):
    usual = at([(11, 1e-7), (14, 4e-7), (19, 9e-7), (20, 1e-9)])
    assert usual.noise_floor("y", {"t": 20}) == pytest.approx(2.5e-7)
    assert usual.noise_floor("y", {"t": 19}) == 9e-7


def test_where_few_cases_are_near_lengths_further_off_count(monkeypatch):
    noise, largest = [(1, 1e-7), (4, 4e-7), (9, 9e-7), (30, 3e-6)], [1.0, 2.0, 3.0, 9.0]
    monkeypatch.setattr(noise_floor, "ENOUGH", 2)
    usual = at(noise, largest)
    assert usual.noise_floor("y", {"t": 4}) == pytest.approx(4e-7)
    assert usual.scale("y", {"t": 4}) == 3.0
    monkeypatch.setattr(noise_floor, "ENOUGH", 100)
    usual = at(noise, largest)
    assert usual.noise_floor("y", {"t": 4}) == pytest.approx(6.5e-7)
    assert usual.scale("y", {"t": 4}) == 9.0


@given(st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=30), SIZES, SIZES)
def test_near_is_within_octaves_on_every_axis(cases, a, b):
    values = [float(i) for i in range(len(cases))]
    usual = Usual([{"a": x, "b": y} for x, y in cases], {"y": values}, {"y": values})
    octaves = [max(abs(math.log2(x / a)), abs(math.log2(y / b))) for x, y in cases]
    within = 1
    while sum(n <= within for n in octaves) < min(noise_floor.ENOUGH, len(cases)):
        within += 1
    near = [value for value, n in zip(values, octaves, strict=True) if n <= within]
    here = [value for value, case in zip(values, cases, strict=True) if case == (a, b)]
    for _ in range(2):
        assert usual.scale("y", {"a": a, "b": b}) == max(near)
        assert usual.noise_floor("y", {"a": a, "b": b}) == max([*here, median(near)])


def test_a_golden_of_many_cases_is_looked_at_once_for_each_length():
    """Figures that are the same for every case of a length are not computed for each case."""
    lengths = [{"t": 1 + number % 5} for number in range(10_000)]
    usual = Usual(lengths, {"y": [1e-7] * 10_000}, {"y": [1.0] * 10_000})
    seen = []
    near = usual._near
    usual._near = lambda sizes: seen.append(sizes) or near(sizes)
    for case in lengths:
        assert (usual.noise_floor("y", case), usual.scale("y", case)) == (1e-7, 1.0)
    assert sorted(seen) == [(1,), (2,), (3,), (4,), (5,)]
