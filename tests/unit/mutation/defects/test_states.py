"""Initial and final states of recurrent nodes: what each planted defect does."""

import numpy as np
import pytest

from harness.mutation.defects import states
from harness.mutation.defects.defect import defects_of
from tests.support.mutants import planted, pointwise, run
from tests.support.recurrent_nets import (
    NEXT,
    STATES,
    UNITS,
    last,
    layer,
    lstm,
    normal,
    stack,
    stacked,
    weights,
)

X = normal(99, 2, 6, 3)
GIVEN = {name: normal(50 + i, 2, UNITS) for i, name in enumerate(STATES)}
H, C = lstm(X.transpose(1, 0, 2), weights(0))


def same(model, expected, x=X, states_given=GIVEN):
    outputs = run(model, {"x": x, **states_given})
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, atol=1e-5, err_msg=name)


def starting(**changed):
    """The stack with other initial states, every other output the mathematics of that."""
    return stacked(X, {**GIVEN, **changed})


ZERO = np.zeros((2, UNITS))
STARTS = [
    (states.initial_state_zeroed, "LSTM 0 h", {"h0_1": ZERO}),
    (states.initial_state_zeroed, "LSTM 1 c", {"c0_2": ZERO}),
    (states.initial_states_dropped, "LSTM 1", {"h0_2": ZERO, "c0_2": ZERO}),
    (states.initial_h_and_c_swapped, "LSTM 0", {"h0_1": GIVEN["c0_1"], "c0_1": GIVEN["h0_1"]}),
    (
        states.initial_state_of_another_layer,
        "LSTM 0 and 1 c",
        {"c0_1": GIVEN["c0_2"], "c0_2": GIVEN["c0_1"]},
    ),
    (states.initial_state_of_another_row, "LSTM 0 h", {"h0_1": GIVEN["h0_1"][::-1]}),
    (states.initial_state_baked, "LSTM 1 h", {"h0_2": np.full((2, UNITS), 0.1)}),
]


def test_the_graph_computes_what_numpy_does():
    same(stack().model, starting())


@pytest.mark.parametrize(("defect", "place", "changed"), STARTS)
def test_a_layer_starts_from_another_state(defect, place, changed):
    same(planted(defect, stack())[place].model, starting(**changed))


def test_a_baked_state_is_also_given_to_a_layer_that_had_none():
    mutants = planted(states.initial_state_baked, layer())
    assert list(mutants) == ["LSTM 0 h", "LSTM 0 c"]
    for place, baked in (("LSTM 0 h", {"h": 0.1}), ("LSTM 0 c", {"c": 0.1})):
        start = {name: np.full((2, UNITS), value) for name, value in baked.items()}
        expected = lstm(X.transpose(1, 0, 2), weights(0), **start)[0][1:].transpose(1, 0, 2)
        np.testing.assert_allclose(run(mutants[place].model, {"x": X})["y"], expected, atol=1e-5)
    assert list(planted(states.initial_state_baked, layer("GRU"))) == ["GRU 0 h"]


def test_a_state_baked_with_its_batch_runs_at_that_batch_alone():
    where = layer("GRU")
    (mutant,) = planted(states.initial_state_baked_with_its_batch, where).values()
    single_row = {"x": X[:1]}
    np.testing.assert_array_equal(
        run(mutant.model, single_row)["y"], run(where.model, single_row)["y"]
    )
    with pytest.raises(Exception, match="initial_h must have shape"):
        run(mutant.model, {"x": X})


FINALS = [
    (states.cell_state_for_hidden_state, C[-1]),
    (states.state_of_the_first_step, H[1]),
    (states.state_one_step_old, H[-2]),
]


@pytest.mark.parametrize(("defect", "expected"), FINALS)
def test_another_final_state_is_read(defect, expected):
    (mutant,) = planted(defect, last()).values()
    np.testing.assert_allclose(run(mutant.model, {"x": X})["y"], expected, atol=1e-5)


def test_the_state_one_step_old_is_the_last_one_where_there_is_but_one():
    where = last("GRU")
    (mutant,) = planted(states.state_one_step_old, where).values()
    single_step = {"x": X[:, :1]}
    np.testing.assert_array_equal(
        run(mutant.model, single_step)["y"], run(where.model, single_step)["y"]
    )


def test_the_hidden_state_is_read_for_the_cell_state():
    mutant = planted(states.hidden_state_for_cell_state, stack())["LSTM 1"]
    expected = starting()
    same(mutant.model, {**expected, "c_2": expected["h_2"]})
    assert not planted(states.hidden_state_for_cell_state, last())


def test_the_state_of_one_layer_is_read_for_the_others():
    expected = starting()
    mutants = planted(states.final_state_of_another_layer, stack())
    same(mutants["LSTM 0 for 1"].model, {**expected, "h_2": expected["h_1"]})
    same(mutants["LSTM 1 for 0"].model, {**expected, "h_1": expected["h_2"]})


def test_a_state_is_returned_under_another_name():
    expected = starting()
    mutants = planted(states.state_of_another_layer_returned, stack())
    assert len(mutants) == 12
    same(mutants["h_2 is h_1"].model, {**expected, "h_2": expected["h_1"]})
    same(mutants["h_1 is c_1"].model, {**expected, "h_1": expected["c_1"]})


def test_a_state_comes_out_as_it_went_in():
    mutants = planted(states.state_not_updated, stack())
    assert list(mutants) == list(NEXT)
    same(mutants["c_1"].model, {**starting(), "c_1": GIVEN["c0_1"]})


def test_nothing_is_planted_where_no_state_is_given_or_returned():
    for defect in (
        states.initial_state_zeroed,
        states.initial_states_dropped,
        states.initial_h_and_c_swapped,
        states.initial_state_of_another_layer,
        states.initial_state_of_another_row,
        states.cell_state_for_hidden_state,
        states.hidden_state_for_cell_state,
        states.state_of_the_first_step,
        states.state_one_step_old,
        states.state_of_another_layer_returned,
        states.state_not_updated,
        states.final_state_of_another_layer,
    ):
        assert not planted(defect, layer()), defect.__name__


@pytest.mark.parametrize("defect", defects_of(states))
def test_nothing_is_planted_where_nothing_is_recurrent(defect):
    assert not planted(defect, pointwise("Tanh"))
