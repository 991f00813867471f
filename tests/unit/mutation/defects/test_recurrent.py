"""Weights and biases of recurrent nodes: where each defect is planted and what it does."""

import numpy as np
import pytest

from harness.mutation.defects import recurrent
from harness.mutation.defects.defect import defects_of
from tests.support.mutants import planted, pointwise, run
from tests.support.recurrent_nets import UNITS, layer, lstm, normal, stack, stacked, weights

X = normal(99, 2, 6, 3)
ZERO = dict.fromkeys(("h0_1", "c0_1", "h0_2", "c0_2"), np.zeros((2, UNITS), np.float32))


def outputs(parameters):
    return lstm(X.transpose(1, 0, 2), parameters)[0][1:].transpose(1, 0, 2)


def scaled(factor, again):
    def change(w, r, b):
        half = b.shape[1] // 2
        return w, r, np.concatenate([factor * b[:, :half], again * b[:, half:]], axis=1)

    return change


def swapped_gates(w, r, b):
    """The input and forget gates, first and third of four."""
    turn = [2, 1, 0, 3]
    w, r = (np.concatenate([np.split(p, 4, 1)[i] for i in turn], 1) for p in (w, r))
    return w, r, np.concatenate([np.split(b, 8, 1)[i] for i in [*turn, 6, 5, 4, 7]], 1)


def turned(p):
    return np.concatenate([gate.transpose(0, 2, 1) for gate in np.split(p, 4, 1)], 1)


def forgetful(w, r, b):
    b = b.copy()
    b[:, 2 * UNITS : 3 * UNITS] += 1
    return w, r, b


CHANGES = [
    (recurrent.gates_swapped, "LSTM 0 i/f", swapped_gates),
    (recurrent.input_bias_dropped, "LSTM 0", scaled(0, 1)),
    (recurrent.input_bias_doubled, "LSTM 0", scaled(2, 1)),
    (recurrent.recurrent_bias_dropped, "LSTM 0", scaled(1, 0)),
    (recurrent.recurrent_bias_doubled, "LSTM 0", scaled(1, 2)),
    (recurrent.forget_bias_added, "LSTM 0", forgetful),
    (recurrent.input_weights_transposed, "LSTM 0", lambda w, r, b: (turned(w), r, b)),
    (recurrent.recurrent_weights_transposed, "LSTM 0", lambda w, r, b: (w, turned(r), b)),
    (recurrent.input_and_recurrent_weights_swapped, "LSTM 0", lambda w, r, b: (r, w, b)),
]


def test_the_graph_computes_what_numpy_does():
    np.testing.assert_allclose(run(layer().model, {"x": X})["y"], outputs(weights(0)), atol=1e-5)


@pytest.mark.parametrize(("defect", "place", "change"), CHANGES)
def test_a_node_computes_with_the_changed_weights(defect, place, change):
    changed = run(planted(defect, layer())[place].model, {"x": X})["y"]
    expected = outputs(change(*weights(0)))
    np.testing.assert_allclose(changed, expected, atol=1e-5)
    assert np.abs(expected - outputs(weights(0))).max() > 1e-2


def test_every_pair_of_gates_is_swapped():
    assert len(planted(recurrent.gates_swapped, layer("LSTM"))) == 6
    assert len(planted(recurrent.gates_swapped, layer("GRU"))) == 3
    assert len(planted(recurrent.gates_swapped, layer("RNN"))) == 0


def test_swapped_biases_change_a_gru_that_resets_after_its_product_alone():
    for kind, after, changes in (("LSTM", {}, False), ("GRU", {"linear_before_reset": 1}, True)):
        where = layer(kind, **after)
        (mutant,) = planted(recurrent.biases_swapped, where).values()
        before, changed = (run(m, {"x": X})["y"] for m in (where.model, mutant.model))
        assert (np.abs(before - changed).max() > 1e-2) == changes


def test_layers_have_each_others_weights():
    (mutant,) = planted(recurrent.weights_of_another_layer, stack()).values()
    assert mutant.place == "LSTM 0 and 1"
    expected = stacked(X, ZERO, (weights(20), weights(10)))
    changed = run(mutant.model, {"x": X, **ZERO})
    for name, value in expected.items():
        np.testing.assert_allclose(changed[name], value, atol=1e-5)


def test_weights_that_are_not_square_are_left_alone():
    wide = layer(features=4)
    assert not planted(recurrent.input_weights_transposed, wide)
    assert not planted(recurrent.input_and_recurrent_weights_swapped, wide)
    assert planted(recurrent.recurrent_weights_transposed, wide)
    assert not planted(recurrent.weights_of_another_layer, wide)
    assert not planted(recurrent.forget_bias_added, layer("GRU"))


@pytest.mark.parametrize("defect", defects_of(recurrent))
def test_nothing_is_planted_where_nothing_is_recurrent(defect):
    assert not planted(defect, pointwise("Tanh"))
