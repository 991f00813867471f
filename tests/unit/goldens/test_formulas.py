import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.schema import Raggedness
from harness.goldens.formulas import RUN, bits, evaluate, permutation, valid_steps


def test_the_bits_are_those_of_splitmix64():
    # the first outputs of SplitMix64 started at the state that seed 0 gives (1)
    words = []
    state = 1
    for _ in range(4):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        words.append(z ^ (z >> 31))
    assert bits(0, 4).tolist() == words


def test_values_stay_what_they_are():
    tokens = evaluate({"seed": 7, "low": 1, "high": 100}, (1, 4), "int32")
    floats = evaluate({"seed": 7, "low": -1.0, "high": 1.0}, (1, 3), "float32")
    assert tokens.tolist() == [[80, 82, 22, 71]]
    assert floats.astype(np.float64).tolist() == [
        [0.3339139223098755, -0.03143107891082764, 0.5923351049423218]
    ]


@given(st.integers(0, 2**32), st.integers(-5, 5), st.integers(1, 1000))
def test_integers_stay_in_range(seed, low, width):
    values = evaluate({"seed": seed, "low": low, "high": low + width}, (4, 5), "int32")
    assert values.min() >= low
    assert values.max() < low + width


@given(
    st.sampled_from([Raggedness.RIGHT, Raggedness.LEFT, Raggedness.GAPPED, Raggedness.EMPTY]),
    st.lists(st.integers(0, 20), min_size=1, max_size=5),
    st.integers(0, 100),
)
def test_each_row_has_its_count_of_valid_steps(raggedness, counts, seed):
    valid = valid_steps(raggedness, counts, 20, seed)
    assert valid.sum(axis=1).tolist() == counts
    if raggedness is Raggedness.RIGHT:
        assert all(row[:n].all() for row, n in zip(valid, counts, strict=True))
    if raggedness is Raggedness.LEFT:
        assert all(row[20 - n :].all() for row, n in zip(valid, counts, strict=True))


def test_padded_steps_are_zero_and_only_they():
    formula = {"seed": 1, "low": 1, "high": 9, "raggedness": "gapped", "counts": [3, 0]}
    values = evaluate(formula, (2, 8), "int32")
    assert (values != 0).sum(axis=1).tolist() == [3, 0]


@pytest.mark.parametrize(("shape", "value"), [((), 7), ((2,), 5)])
def test_a_constant_fills_its_shape(shape, value):
    assert evaluate({"constant": value}, shape, "int32").tolist() == np.full(shape, value).tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 256, 1000])
def test_a_permutation_has_every_place_once(size):
    found = permutation(7, size, np.arange(size, dtype=np.uint64))
    assert sorted(found.tolist()) == list(range(size))
    assert size < 17 or (found != permutation(8, size, np.arange(size, dtype=np.uint64))).any()


def test_a_permutation_stays_what_it_is():
    places = np.array([0, 1, 2**32 - 2], np.uint64)
    ten = permutation(7, 10, np.arange(10, dtype=np.uint64))
    assert ten.tolist() == [9, 7, 4, 8, 2, 6, 0, 5, 1, 3]
    assert permutation(7, 2**32 - 1, places).tolist() == [3469947630, 1668495563, 3362949592]


def test_draws_without_replacement_go_on_where_the_last_case_ended():
    formula = {"seed": 1, "low": 3, "high": 13, "permuted": 5}
    ragged = {"raggedness": "right", "counts": [2, 3]}
    first = evaluate({**formula, **ragged}, (2, 4), "int64")
    then = evaluate({**formula, "first": 5}, (1, 5), "int64")
    valid = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], bool)
    assert sorted([*first[valid], *then.ravel()]) == list(range(3, 13))
    assert not first[~valid].any()


def test_ends_runs_and_nan():
    formula = {"seed": 1, "low": -2.0, "high": 2.0}
    plain = evaluate(formula, (6, 12, 3), "float32")
    ends = evaluate({**formula, "ends": [-2.0, 0.0]}, (6, 12, 3), "float32")
    changed = ends != plain
    assert set(ends[changed].tolist()) == {-2.0, 0.0}
    assert 0.3 < changed.mean() < 0.7
    runs = evaluate({**formula, "runs": True}, (6, 12, 3), "float32")
    assert (runs[0] == runs[0, 0]).all()
    assert (runs[1:] == runs[1:, np.arange(12) // RUN * RUN]).all()
    assert len(np.unique(runs[1, :, 0])) == 4
    holes = np.isnan(evaluate({**formula, "nan": True}, (6, 12, 3), "float32"))
    assert holes.any()
    assert not holes[::2].any()
    assert holes.all(axis=2).any()
    assert (holes.any(axis=2) & ~holes.all(axis=2)).any()
    assert 0 < holes.any(axis=2).sum() < 12
