import numpy as np
import pytest

from harness.schema import PaddedSteps
from reference_models import numerics

RNG = np.random.default_rng(0)
PARAMS = {
    "l.kernel": RNG.normal(size=(3, 16)),
    "l.recurrent_kernel": RNG.normal(size=(4, 16)),
    "l.bias": RNG.normal(size=16),
}
X = RNG.normal(size=(2, 7, 3))
STATE = RNG.normal(size=(2, 4)), RNG.normal(size=(2, 4))


def test_one_step_by_hand():
    x, (h, c) = X[:, :1], STATE
    gates = x[:, 0] @ PARAMS["l.kernel"] + h @ PARAMS["l.recurrent_kernel"] + PARAMS["l.bias"]
    i, f, g, o = np.split(gates, 4, axis=1)
    logistic = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    c_next = logistic(f) * c + logistic(i) * np.tanh(g)
    outputs, (h_1, c_1) = numerics.lstm(PARAMS, "l", x, STATE)
    np.testing.assert_allclose(c_1, c_next, rtol=1e-14)
    np.testing.assert_allclose(h_1, logistic(o) * np.tanh(c_next), rtol=1e-14)
    np.testing.assert_array_equal(outputs[:, 0], h_1)


def test_pieces_give_what_the_whole_gives():
    whole, final = numerics.lstm(PARAMS, "l", X, STATE)
    first, state = numerics.lstm(PARAMS, "l", X[:, :3], STATE)
    second, end = numerics.lstm(PARAMS, "l", X[:, 3:], state)
    np.testing.assert_allclose(whole, np.concatenate([first, second], axis=1), rtol=1e-13)
    np.testing.assert_allclose(final, end, rtol=1e-13)


@pytest.mark.parametrize("padded", ["repeat", "zero"])
def test_padding_changes_nothing_at_valid_steps(padded: PaddedSteps):
    valid = np.array([[0, 1, 0, 1, 1, 0, 0], [0] * 7], bool)
    outputs, (h, c) = numerics.lstm(PARAMS, "l", X, STATE, valid, padded)
    alone, (h_alone, c_alone) = numerics.lstm(
        PARAMS, "l", X[:1, valid[0]], (STATE[0][:1], STATE[1][:1])
    )
    np.testing.assert_allclose(outputs[0, valid[0]], alone[0], rtol=1e-13)
    np.testing.assert_allclose((h[0], c[0]), (h_alone[0], c_alone[0]), rtol=1e-13)
    np.testing.assert_array_equal((h[1], c[1]), (STATE[0][1], STATE[1][1]))
    gap = alone[0, 0] if padded == "repeat" else np.zeros(4)
    np.testing.assert_allclose(outputs[0, 2], gap, rtol=1e-13)
    np.testing.assert_array_equal(outputs[0, 0], np.zeros(4))
    np.testing.assert_array_equal(outputs[1], np.zeros((7, 4)))


def test_two_biases_are_summed():
    twice = {**PARAMS, "l.bias": PARAMS["l.bias"] - 1, "l.recurrent_bias": np.ones(16)}
    np.testing.assert_allclose(
        numerics.lstm(twice, "l", X)[0], numerics.lstm(PARAMS, "l", X)[0], rtol=1e-12
    )


def test_the_last_valid_output():
    outputs = np.arange(12.0).reshape(2, 3, 2)
    valid = np.array([[True, True, False], [False, False, False]])
    assert numerics.last_valid(outputs, valid).tolist() == [[2, 3], [0, 0]]


def test_softmax_and_sigmoid_do_not_overflow():
    assert numerics.softmax(np.array([1e4, 0.0])).tolist() == [1, 0]
    assert numerics.sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0, 0.5, 1]
