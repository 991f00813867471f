import numpy as np
import pytest

from harness.core.schema import PaddedSteps
from reference_models import numerics

RNG = np.random.default_rng(0)
PARAMS = {
    "l.kernel": RNG.normal(size=(3, 16)),
    "l.recurrent_kernel": RNG.normal(size=(4, 16)),
    "l.bias": RNG.normal(size=16),
}
X = RNG.normal(size=(2, 7, 3))
STATE = RNG.normal(size=(2, 4)), RNG.normal(size=(2, 4))
GRU = {
    "g.kernel": RNG.normal(size=(3, 12)),
    "g.recurrent_kernel": RNG.normal(size=(4, 12)),
    "g.bias": RNG.normal(size=12),
    "g.recurrent_bias": RNG.normal(size=12),
}
BOTH_WAYS = {
    f"l_{way}.{name}": RNG.normal(size=PARAMS[f"l.{name}"].shape)
    for way in ("forward", "backward")
    for name in ("kernel", "recurrent_kernel", "bias")
}
GAPPED = np.array([[0, 1, 0, 1, 1, 0, 0], [0] * 7], bool)


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
    valid = GAPPED
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


@pytest.mark.parametrize("reset_after", [True, False])
def test_one_gru_step_by_hand(reset_after: bool):
    x, h = X[:, 0], STATE[0]
    w_z, w_r, w_h = np.split(GRU["g.kernel"], 3, axis=1)
    u_z, u_r, u_h = np.split(GRU["g.recurrent_kernel"], 3, axis=1)
    b_z, b_r, b_h = np.split(GRU["g.bias"], 3)
    v_z, v_r, v_h = np.split(GRU["g.recurrent_bias"] * reset_after, 3)
    z = 1 / (1 + np.exp(-(x @ w_z + b_z + h @ u_z + v_z)))
    r = 1 / (1 + np.exp(-(x @ w_r + b_r + h @ u_r + v_r)))
    recurrent = r * (h @ u_h + v_h) if reset_after else (r * h) @ u_h
    expected = z * h + (1 - z) * np.tanh(x @ w_h + b_h + recurrent)
    outputs, end = numerics.gru(GRU, "g", X[:, :1], h, reset_after=reset_after)
    np.testing.assert_allclose(end, expected, rtol=1e-13)
    np.testing.assert_array_equal(outputs[:, 0], end)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("padded", ["repeat", "zero"])
def test_padding_changes_nothing_at_the_valid_steps_of_a_gru(
    padded: PaddedSteps, reset_after: bool
):
    h = STATE[0]
    outputs, end = numerics.gru(GRU, "g", X, h, GAPPED, padded, reset_after)
    alone, _ = numerics.gru(GRU, "g", X[:1, GAPPED[0]], h[:1], reset_after=reset_after)
    np.testing.assert_allclose(outputs[0, GAPPED[0]], alone[0], rtol=1e-13)
    np.testing.assert_allclose(end, [alone[0, -1], h[1]], rtol=1e-13)
    after = alone[0, -1] if padded == "repeat" else np.zeros(4)
    np.testing.assert_allclose(outputs[0, -2:], [after, after], rtol=1e-13)
    np.testing.assert_array_equal(outputs[:, 0], np.zeros((2, 4)))


def test_the_backward_direction_sees_what_comes_after_a_step():
    outputs, ((h, _), (h_back, _)) = numerics.bidirectional(numerics.lstm, BOTH_WAYS, "l", X)
    assert outputs.shape == (2, 7, 8)
    for step in range(7):
        _, (before, _) = numerics.lstm(BOTH_WAYS, "l_forward", X[:, : step + 1])
        _, (after, _) = numerics.lstm(BOTH_WAYS, "l_backward", X[:, step:][:, ::-1])
        np.testing.assert_allclose(outputs[:, step], np.hstack([before, after]), rtol=1e-12)
    np.testing.assert_array_equal(outputs[:, -1, :4], h)
    np.testing.assert_array_equal(outputs[:, 0, 4:], h_back)


def test_both_directions_pass_over_padding():
    outputs, (_, (start, _)) = numerics.bidirectional(
        numerics.lstm, BOTH_WAYS, "l", X, GAPPED, "zero"
    )
    alone, _ = numerics.bidirectional(numerics.lstm, BOTH_WAYS, "l", X[:1, GAPPED[0]])
    np.testing.assert_allclose(outputs[0, GAPPED[0]], alone[0], rtol=1e-13)
    np.testing.assert_array_equal(outputs[~GAPPED], np.zeros((11, 8)))
    np.testing.assert_allclose(start, [alone[0, 0, 4:], np.zeros(4)], rtol=1e-13)
    repeated, _ = numerics.bidirectional(numerics.lstm, BOTH_WAYS, "l", X, GAPPED)
    np.testing.assert_allclose(repeated[0, 2], np.hstack([alone[0, 0, :4], alone[0, 1, 4:]]))


def test_the_last_valid_output():
    outputs = np.arange(12.0).reshape(2, 3, 2)
    valid = np.array([[True, True, False], [False, False, False]])
    assert numerics.last_valid(outputs, valid).tolist() == [[2, 3], [0, 0]]


def test_softmax_and_sigmoid_do_not_overflow():
    assert numerics.softmax(np.array([1e4, 0.0])).tolist() == [1, 0]
    assert numerics.sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0, 0.5, 1]
