"""Steps and rows out of order: where each defect is planted and what it does."""

import numpy as np
import pytest

from harness.mutation.defects import order
from harness.mutation.defects.defect import defects_of
from tests.support.mutants import planted, pointwise, run
from tests.support.recurrent_nets import last, layer, normal, stack

X = normal(99, 4, 6, 3)


def outputs(model, x=X):
    return run(model, {"x": x})["y"]


def late(x):
    return np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], axis=1)


def swapped(x):
    return x[:, [1, 0, *range(2, x.shape[1])]]


CHANGES = [
    (order.steps_late, late),
    (order.steps_rolled, lambda x: np.roll(x, 1, axis=1)),
    (order.steps_reversed, lambda x: x[:, ::-1]),
    (order.first_two_steps_swapped, swapped),
    (order.rows_reversed, lambda x: x[::-1]),
    (order.first_row_for_all, lambda x: np.broadcast_to(x[:1], x.shape)),
]


@pytest.mark.parametrize(("defect", "change"), CHANGES)
def test_a_sequence_is_changed_before_a_layer_or_behind_it(defect, change):
    where = layer()
    mutants = planted(defect, where)
    assert list(mutants) == ["LSTM 0", "y"]
    before, behind = (outputs(m.model) for m in mutants.values())
    np.testing.assert_allclose(before, outputs(where.model, change(X)), atol=1e-6)
    np.testing.assert_array_equal(behind, change(outputs(where.model)))
    assert np.abs(before - outputs(where.model)).max() > 1e-2


@pytest.mark.parametrize(("defect", "change"), CHANGES)
def test_one_step_of_one_row_can_be_run(defect, change):
    for mutant in planted(defect, layer()).values():
        assert outputs(mutant.model, X[:1, :1]).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("defect", "kept"),
    [(order.first_step_lost, slice(1, None)), (order.last_step_lost, slice(None, -1))],
)
def test_a_step_of_an_input_is_lost(defect, kept):
    for where in (last(), layer()):
        (mutant,) = planted(defect, where).values()
        assert mutant.place == "x"
        np.testing.assert_array_equal(outputs(mutant.model), outputs(where.model, X[:, kept]))


def test_the_middle_step_comes_from_the_row_before():
    where = layer()
    (mutant,) = planted(order.step_of_another_row, where).values()
    mixed = X.copy()
    mixed[:, 3] = np.roll(X[:, 3], 1, axis=0)
    np.testing.assert_allclose(outputs(mutant.model), outputs(where.model, mixed), atol=1e-6)
    single = X[:1]
    np.testing.assert_array_equal(outputs(mutant.model, single), outputs(where.model, single))


def test_an_output_without_a_time_keeps_its_steps():
    assert list(planted(order.steps_reversed, last())) == ["LSTM 0"]
    assert list(planted(order.rows_reversed, last())) == ["LSTM 0", "y"]


def test_a_changed_state_is_unknown_to_what_reads_it():
    """Only what is returned is changed: the second layer runs on."""
    where, initial = stack(), {n: normal(5, 4, 3) for n in ("h0_1", "c0_1", "h0_2", "c0_2")}
    right = run(where.model, {"x": X, **initial})
    changed = run(planted(order.rows_reversed, where)["h_1"].model, {"x": X, **initial})
    for name, value in right.items():
        np.testing.assert_array_equal(changed[name], value[::-1] if name == "h_1" else value)


@pytest.mark.parametrize("defect", defects_of(order))
def test_only_outputs_and_inputs_are_changed_where_nothing_is_recurrent(defect):
    assert set(planted(defect, pointwise("Tanh"))) <= {"x", "y"}


def test_a_state_has_no_step_to_lose():
    assert list(planted(order.first_step_lost, stack())) == ["x"]
