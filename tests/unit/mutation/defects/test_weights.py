"""Stored numbers: which are rounded, moved or changed, and that the outputs tell."""

import ml_dtypes
import numpy as np
import pytest

from harness.graphs.edit import Edit
from harness.graphs.narrow import tf32
from harness.mutation.defects import weights
from harness.mutation.defects.defect import defects_of
from tests.support.mutants import IDS, planted, pointwise, run, tagger

WEIGHTS = ("table", "W", "R", "B", "kernel", "bias")
LABELS = (
    "Gather 0 input 0",
    "LSTM 0 W",
    "LSTM 0 R",
    "LSTM 0 B",
    "MatMul 0 input 1",
    "Add 0 input 1",
)


def changes(mutant, names=WEIGHTS):
    """The weights before and after, of those that differ."""
    before, after = Edit(tagger().model), Edit(mutant.model)
    pairs = {name: (before.value(name), after.value(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if not np.array_equal(*pair)}


def departure(mutant):
    """How far a mutant's output is from the sound one."""
    sound, changed = (run(m, {"ids": IDS})["y"] for m in (tagger().model, mutant.model))
    return np.abs(sound - changed).max()


ROUNDINGS = [
    (weights.weights_as_float16, lambda w: w.astype(np.float16)),
    (weights.weights_as_bfloat16, lambda w: w.astype(ml_dtypes.bfloat16)),
]


@pytest.mark.parametrize(("defect", "rounded"), ROUNDINGS)
def test_all_weights_are_rounded_and_the_recurrent_ones_alone(defect, rounded):
    mutants = planted(defect, tagger())
    assert set(mutants) == {"all", "recurrent"}
    assert set(changes(mutants["all"])) == set(WEIGHTS)
    assert set(changes(mutants["recurrent"])) == {"R"}
    for before, after in changes(mutants["all"]).values():
        np.testing.assert_array_equal(after, rounded(before).astype(np.float32))
    assert departure(mutants["all"]) > 1e-5


def test_tf32_keeps_ten_bits_and_a_tie_goes_to_the_even_one():
    ulp = 2.0**-10
    values = {
        1 + ulp / 2: 1,
        1 + ulp * 3 / 2: 1 + 2 * ulp,
        1 + ulp * 0.51: 1 + ulp,
        -1 - ulp: -1 - ulp,
    }
    exact = np.array([*values], np.float32)
    np.testing.assert_array_equal(tf32(exact), [*values.values()])
    mutants = planted(weights.weights_as_tf32, tagger())
    before, after = changes(mutants["all"])["kernel"]
    assert 0 < np.abs(after / before - 1).max() <= ulp / 2
    assert np.all(after.view(np.uint32) % 2**13 == 0)
    assert departure(mutants["all"]) > 1e-6


@pytest.mark.parametrize(
    ("defect", "axis"), [(weights.weights_as_int8, None), (weights.weights_as_int8_per_channel, 0)]
)
def test_int8_has_127_steps_up_to_the_largest_of_a_tensor_or_a_channel(defect, axis):
    mutants = planted(defect, tagger())
    assert set(changes(mutants["all"])) == {"table", "W", "R", "kernel"}
    before, after = changes(mutants["all"])["kernel"]
    scale = np.abs(before).max(axis, keepdims=True) / 127
    np.testing.assert_allclose(after, np.rint(before / scale) * scale, rtol=1e-6)
    assert departure(mutants["recurrent"]) > 1e-5


def test_channels_of_a_recurrent_matrix_are_its_rows():
    mutants = planted(weights.weights_as_int8_per_channel, tagger())
    before, after = changes(mutants["all"])["R"]
    scale = np.abs(before).max(-1, keepdims=True) / 127
    np.testing.assert_allclose(after, np.rint(before / scale) * scale, rtol=1e-6)


def test_one_constant_at_a_time_goes_through_float16():
    mutants = planted(weights.constant_folded_at_float16, tagger())
    assert set(mutants) == set(LABELS)
    for mutant, name in zip(mutants.values(), WEIGHTS, strict=True):
        assert set(changes(mutant)) == {name}
        assert departure(mutant) > 0


def test_rows_of_an_embedding_are_zeroed_and_shifted():
    mutants = planted(weights.embedding_row_zeroed, tagger())
    for which, row in (("first row", 0), ("last row", 5)):
        mutant = mutants[f"Gather 0 input 0 {which}"]
        before, after = changes(mutant)["table"]
        assert np.flatnonzero((before != after).any(1)).tolist() == [row]
        assert not after[row].any()
        assert departure(mutant) > 1e-3
    (mutant,) = planted(weights.embedding_rows_shifted, tagger()).values()
    before, after = changes(mutant)["table"]
    np.testing.assert_array_equal(after, before[[5, 0, 1, 2, 3, 4]])


def test_an_embedding_without_a_first_row_to_zero_has_no_such_place():
    where = tagger()
    edit = Edit(where.model)
    table = edit.value("table").copy()
    table[0] = 0
    edit.put("table", table)
    zeroed = weights.Specimen(edit.done(), where.spec)
    assert set(planted(weights.embedding_row_zeroed, zeroed)) == {"Gather 0 input 0 last row"}


@pytest.mark.parametrize(
    ("place", "moved"), [("Gather 0 +1", [[2, 3, 5, 5]]), ("Gather 0 -1", [[0, 1, 3, 4]])]
)
def test_ids_are_off_by_one_and_cut_at_the_ends(place, moved):
    mutant = planted(weights.ids_off_by_one, tagger())[place]
    ids = np.array([[1, 2, 4, 5]], np.int32)
    expected = run(tagger().model, {"ids": np.array(moved, np.int32)})["y"]
    np.testing.assert_array_equal(run(mutant.model, {"ids": ids})["y"], expected)
    ends = np.array([[0, 0, 0, 0]], np.int32)
    run(mutant.model, {"ids": ends})


def test_the_largest_weight_changes_sign_and_two_rows_change_places():
    for mutant, name in zip(
        planted(weights.weight_sign_flipped, tagger()).values(), WEIGHTS, strict=True
    ):
        before, after = changes(mutant)[name]
        (place,) = np.flatnonzero(before != after)
        assert place == np.abs(before).argmax()
        assert after.flat[place] == -before.flat[place]
    (mutant,) = planted(weights.dense_rows_swapped, tagger()).values()
    before, after = changes(mutant)["kernel"]
    np.testing.assert_array_equal(after, before[[1, 0, 2]])
    assert departure(mutant) > 1e-3


def test_one_weight_is_the_next_number_and_two_rows_and_two_biases_are_exchanged():
    mutants = planted(weights.one_ulp, tagger())
    assert set(mutants) == {f"{p} {w}" for p in LABELS for w in ("largest", "median", "last")}
    before, after = changes(mutants["LSTM 0 R last"])["R"]
    assert np.flatnonzero(before != after).tolist() == [before.size - 1]
    assert after.flat[-1] == np.nextafter(before.flat[-1], np.float32(9))
    ends, middle = planted(weights.table_rows_exchanged, tagger()).values()
    for mutant, order in ((ends, [5, 1, 2, 3, 4, 0]), (middle, [0, 3, 2, 1, 4, 5])):
        before, after = changes(mutant)["table"]
        np.testing.assert_array_equal(after, before[order])
        assert mutant.certain == (mutant is middle)
        assert departure(mutant) > 1e-3
    (mutant,) = planted(weights.bias_doubled, tagger()).values()
    before, after = changes(mutant)["B"]
    half = before.shape[1] // 2
    np.testing.assert_array_equal(after, np.tile(before[:, :half], 2))


def test_one_weight_is_changed_by_sizes_from_large_to_small():
    mutants = planted(weights.one_weight_changed, tagger())
    sizes = [size for place, size in mutants if place == "LSTM 0 R largest"]
    assert sizes[:3] == [1e-2, 3e-3, 1e-3]
    assert sizes == sorted(sizes, reverse=True)
    assert {place for place, _ in mutants} == {
        f"{p} {w}" for p in LABELS for w in ("largest", "median")
    }
    for which, larger in (("largest", 0), ("median", 17)):
        before, after = changes(mutants[f"LSTM 0 R {which}", 1e-3])["R"]
        (place,) = np.flatnonzero(before != after)
        assert np.sum(np.abs(before) > np.abs(before.flat[place])) == larger
        assert after.flat[place] / before.flat[place] == pytest.approx(1 + 1e-3, abs=1e-6)
    assert departure(mutants["LSTM 0 R largest", 1e-2]) > departure(
        mutants["LSTM 0 R largest", 1e-4]
    )


def test_a_tensor_is_scaled():
    mutants = planted(weights.tensor_scaled, tagger())
    before, after = changes(mutants["MatMul 0 input 1", 3e-3])["kernel"]
    np.testing.assert_allclose(after / before, 1 + 3e-3, atol=2e-7)


@pytest.mark.parametrize("defect", defects_of(weights))
def test_nothing_where_there_are_no_weights(defect):
    assert planted(defect, pointwise("Exp")) == {}


def test_a_scalar_and_a_tensor_of_zeros_are_no_weights():
    edit = Edit(tagger().model)
    edit.constant(0.5, np.float32)
    edit.constant(np.zeros(3, np.float32))
    edit.constant([1, 2], np.int64)
    assert edit.weights() == [*WEIGHTS]


def test_a_product_with_a_stack_of_matrices_is_no_dense_layer():
    kernel = np.eye(5, dtype=np.float32)
    assert len(Edit(pointwise("MatMul", {"kernel": kernel}).model).dense()) == 1
    assert Edit(pointwise("MatMul", {"kernel": kernel[None]}).model).dense() == []


def test_a_sum_takes_its_axes_as_an_input_before_the_other_reductions_do():
    for opset, inputs in ((12, (1, 1)), (13, (2, 1)), (18, (2, 2))):
        edit = Edit(pointwise("Exp").model)
        edit.model.opset_import[0].version = opset
        for op, expected in zip(("ReduceSum", "ReduceMax"), inputs, strict=True):
            assert len(edit.producer(edit.reduced(op, "y", [1])).input) == expected
