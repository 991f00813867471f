"""Other tools' rules, each just inside and just outside of its limit."""

import numpy as np
import pytest

from harness.mutation.peers import FOUR, PEERS, caught

POLYGRAPHY, TORCH, OPTIMUM, BACKEND = PEERS
NAMES = [peer.name for peer in PEERS]


def array(*values, dtype=np.float32):
    return np.array(values, dtype)


def notices(peer, actual, expected):
    return caught(peer, [("y", expected)], [("y", actual)])


BORDERS = [
    (POLYGRAPHY, 100.0, 0.9e-3, 1.1e-3),
    (POLYGRAPHY, -100.0, 0.9e-3, 1.1e-3),
    (POLYGRAPHY, 1e-3, 0.99e-5, 1.01e-5),
    (POLYGRAPHY, -1e-3, 0.99e-5, 1.01e-5),
    (POLYGRAPHY, 0.0, 0.99e-5, 1.01e-5),
    (TORCH, 100.0, 1.38e-4, 1.42e-4),
    (TORCH, -100.0, 1.38e-4, 1.42e-4),
    (TORCH, 0.0, 0.99e-5, 1.01e-5),
    (OPTIMUM, 100.0, 1.00e-3, 1.02e-3),
    (OPTIMUM, -100.0, 1.00e-3, 1.02e-3),
    (OPTIMUM, 0.0, 0.99e-5, 1.01e-5),
    (BACKEND, 100.0, 0.0999, 0.1001),
    (BACKEND, -100.0, 0.0999, 0.1001),
    (BACKEND, 0.0, 0.99e-7, 1.01e-7),
]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("peer", "expected", "inside", "outside"), BORDERS)
def test_the_limit(peer, expected, inside, outside, sign):
    exact = array(0.5, expected)
    assert not notices(peer, exact, exact)
    assert not notices(peer, array(0.5, expected + sign * inside), exact)
    assert notices(peer, array(0.5, expected + sign * outside), exact)


def test_optimum_measures_by_the_actual_value():
    small, large = (array(x, dtype=np.float64) for x in (1, 1 + 2.00001e-5))
    assert not notices(OPTIMUM, large, small)
    assert notices(OPTIMUM, small, large)


def test_polygraphy_lets_either_error_pass():
    assert not notices(POLYGRAPHY, array(1e-7), array(1e-6))
    assert not notices(POLYGRAPHY, array(1e6 + 5), array(1e6))
    assert notices(POLYGRAPHY, array(0.5 + 2e-5), array(0.5))


@pytest.mark.parametrize(
    ("peer", "both_nan", "both_infinite"),
    [(POLYGRAPHY, 1, 1), (TORCH, 1, 0), (OPTIMUM, 1, 0), (BACKEND, 0, 0)],
)
def test_what_is_not_finite(peer, both_nan, both_infinite):
    one, nan, infinity = array(1), array(np.nan), array(np.inf)
    assert notices(peer, nan, one)
    assert notices(peer, infinity, one)
    assert notices(peer, one, nan)
    assert notices(peer, one, infinity)
    assert notices(peer, infinity, -infinity)
    assert notices(peer, nan, nan) == both_nan
    assert notices(peer, infinity, infinity) == both_infinite


@pytest.mark.parametrize("peer", PEERS, ids=NAMES)
def test_shapes_must_be_equal(peer):
    x = np.zeros((2, 1), np.float32)
    assert notices(peer, x[:, 0], x)
    assert notices(peer, x.repeat(3, 1), x)


@pytest.mark.parametrize(("peer", "noticed"), [*zip(PEERS, (0, 1, 0, 1), strict=True)])
def test_a_dtype_may_differ(peer, noticed):
    for dtype in (np.float64, np.float16):
        assert notices(peer, array(0.5, dtype=dtype), array(0.5)) == noticed


A, B = array(1, 2), array(3, 4)
OUTPUTS = [("a", A), ("b", B)]


@pytest.mark.parametrize(
    ("actual", "noticed"),
    [
        ([("a", A), ("b", B)], (0, 0, 0, 0)),
        ([("b", B), ("a", A)], (0, 1, 0, 1)),
        ([("a", A)], (0, 1, 1, 1)),
        ([("a", A), ("b", B), ("c", B)], (0, 1, 1, 1)),
        ([("a", A), ("b", B), ("b", B)], (0, 1, 0, 1)),
        ([("a", A), ("c", B)], (0, 0, 1, 0)),
        ([("a", A), ("c", A)], (1, 1, 1, 1)),
        ([("a", A), ("ab", -A)], (0, 1, 1, 1)),
        ([("B_1", B)], (0, 1, 1, 1)),
        ([("B_1", A)], (1, 1, 1, 1)),
        ([("a", B), ("b", A)], (1, 1, 1, 1)),
        ([], (1, 1, 1, 1)),
    ],
)
def test_names_and_count(actual, noticed):
    assert tuple(caught(peer, OUTPUTS, actual) for peer in PEERS) == noticed


def test_only_optimum_runs_more_than_one_length():
    assert [len(peer.lengths) for peer in PEERS] == [1, 1, len(FOUR), 1]


def drawn(seed):
    """Two arrays about as far apart as the tightest and the widest rule allow."""
    draw = np.random.default_rng(seed)
    expected = draw.normal(size=4) * 10.0 ** draw.integers(-8, 4)
    apart = 10.0 ** draw.uniform(-8, -2) * draw.normal(size=4)
    near = expected + apart * draw.choice([1, np.abs(expected).max()])
    return near.astype(np.float32), expected.astype(np.float32)


def fails(check, *arguments, **named):
    try:
        check(*arguments, **named)
    except AssertionError:
        return True
    return False


def test_the_rule_of_the_backend_tests_is_theirs():
    from onnx.backend.test.runner import Runner

    verdicts = set()
    for seed in range(500):
        actual, expected = drawn(seed)
        theirs = fails(Runner.assert_similar_outputs, [expected], [actual], rtol=1e-3, atol=1e-7)
        assert notices(BACKEND, actual, expected) == theirs, seed
        verdicts.add(theirs)
    assert verdicts == {True, False}


def test_the_rule_of_assert_close_is_its_own():
    torch = pytest.importorskip("torch")
    verdicts = set()
    for seed in range(500):
        actual, expected = drawn(seed)
        theirs = fails(torch.testing.assert_close, *map(torch.from_numpy, (actual, expected)))
        assert notices(TORCH, actual, expected) == theirs, seed
        verdicts.add(theirs)
    assert verdicts == {True, False}
