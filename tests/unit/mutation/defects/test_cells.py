"""Directions, variants and activations of recurrent nodes: what each planted defect does."""

import numpy as np
import pytest

from harness.graphs.attributes import attribute
from harness.graphs.edit import Edit
from harness.mutation.defects import cells
from harness.mutation.defects.defect import defects_of
from tests.support.mutants import planted, pointwise, run
from tests.support.recurrent_nets import UNITS, layer, normal, sigmoid, weights

X = normal(99, 2, 6, 3)


def outputs(model, x=X):
    return run(model, {"x": x})["y"]


def cell(gate=sigmoid, tanh=np.tanh, clip=np.inf, coupled=False, peephole=0.0):
    """The outputs of ``layer()`` with another gate function, tanh, clip, or peephole weight."""
    w, r, b = (p[0].astype(np.float64) for p in weights(0))
    h = c = np.zeros((2, UNITS))
    states = []
    for step in X.transpose(1, 0, 2):
        i, o, f, g = np.split(step @ w.T + h @ r.T + b[:12] + b[12:], 4, axis=-1)
        i, f, g = (s.clip(-clip, clip) for s in (i + peephole * c, f + peephole * c, g))
        inward = gate(i)
        kept = 1 - inward if coupled else gate(f)
        c = kept * c + inward * tanh(g)
        h = gate((o + peephole * c).clip(-clip, clip)) * tanh(c)
        states.append(h)
    return np.array(states).transpose(1, 0, 2)


def hard(slope):
    return lambda x: (slope * x + 0.5).clip(0, 1)


CHANGES = [
    (cells.input_gate_coupled, "LSTM 0", {"coupled": True}),
    (cells.peepholes_added, "LSTM 0", {"peephole": 0.1}),
    (cells.gates_as_hard_sigmoid, "LSTM 0 0.2", {"gate": hard(0.2)}),
    (cells.gates_as_hard_sigmoid, "LSTM 0 1/6", {"gate": hard(1 / 6)}),
    (cells.tanh_in_cell_as_near_one, "LSTM 0 Softsign", {"tanh": lambda x: x / (1 + abs(x))}),
    (cells.tanh_in_cell_as_near_one, "LSTM 0 x", {"tanh": lambda x: x}),
    (
        cells.tanh_in_cell_as_near_one,
        "LSTM 0 1.7159 tanh(2x/3)",
        {"tanh": lambda x: 1.7159 * np.tanh(2 * x / 3)},
    ),
    (cells.tanh_in_cell_as_relu, "LSTM 0", {"tanh": lambda x: np.maximum(x, 0)}),
]


@pytest.mark.parametrize(("defect", "place", "change"), CHANGES)
def test_a_cell_computes_the_changed_formula(defect, place, change):
    changed = outputs(planted(defect, layer())[place].model)
    np.testing.assert_allclose(changed, cell(**change), atol=1e-5)
    assert np.abs(changed - cell()).max() > 1e-2


def test_clipped_gates_change_the_output():
    (mutant,) = planted(cells.gates_clipped, layer()).values()
    np.testing.assert_allclose(outputs(mutant.model), cell(clip=1.0), atol=1e-5)


def test_a_reset_gate_moves_to_the_other_side_and_back():
    where, flipped = layer("GRU"), layer("GRU", linear_before_reset=1)
    for before, after in ((where, flipped), (flipped, where)):
        (mutant,) = planted(cells.linear_before_reset_flipped, before).values()
        np.testing.assert_array_equal(outputs(mutant.model), outputs(after.model))
    assert np.abs(outputs(where.model) - outputs(flipped.model)).max() > 1e-2
    assert not planted(cells.linear_before_reset_flipped, layer("LSTM"))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_flipped_direction_is_a_reversed_sequence(direction):
    where = layer(direction=direction)
    (mutant,) = planted(cells.direction_flipped, where).values()
    expected = outputs(where.model, X[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(outputs(mutant.model), expected, atol=1e-6)


def test_two_flipped_directions_have_changed_places():
    where = layer(direction="bidirectional")
    (mutant,) = planted(cells.direction_flipped, where).values()
    expected = outputs(where.model, X[:, ::-1])[:, ::-1]
    expected = np.concatenate([expected[..., UNITS:], expected[..., :UNITS]], axis=-1)
    np.testing.assert_allclose(outputs(mutant.model), expected, atol=1e-6)


def test_a_hard_sigmoid_gets_the_other_slope_and_keeps_its_neighbours():
    where = layer(
        activations=["HardSigmoid", "Affine", "Tanh"],
        activation_alpha=[1 / 6, 0.9],
        activation_beta=[0.5, 0.01],
    )
    (mutant,) = planted(cells.gates_as_hard_sigmoid, where).values()
    assert mutant.place == "LSTM 0 0.2"
    (node,) = Edit(mutant.model).recurrent()
    assert attribute(node, "activations")[1:] == ["Affine", "Tanh"]
    np.testing.assert_allclose(attribute(node, "activation_alpha"), [0.2, 0.9], rtol=1e-6)
    np.testing.assert_allclose(attribute(node, "activation_beta"), [0.5, 0.01], rtol=1e-6)
    assert np.abs(outputs(mutant.model) - outputs(where.model)).max() > 1e-4


def test_every_direction_has_the_replaced_activation():
    where = layer("GRU", direction="bidirectional")
    mutant = planted(cells.tanh_in_cell_as_relu, where)["GRU 0"]
    (node,) = Edit(mutant.model).recurrent()
    assert attribute(node, "activations") == ["Sigmoid", "Relu"] * 2
    assert outputs(mutant.model).shape == (2, 6, 2 * UNITS)


def test_nothing_is_planted_in_a_cell_that_lacks_it():
    assert not planted(cells.gates_as_hard_sigmoid, layer("RNN"))
    assert not planted(cells.input_gate_coupled, layer("GRU"))
    assert not planted(cells.peepholes_added, layer("GRU"))


@pytest.mark.parametrize("defect", defects_of(cells))
def test_nothing_is_planted_where_nothing_is_recurrent(defect):
    assert not planted(defect, pointwise("Tanh"))
