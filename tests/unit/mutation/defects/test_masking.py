"""Masks that are not heeded everywhere: what each planted defect computes."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from harness.mutation.defects import masking
from harness.mutation.defects.defect import defects_of
from tests.support.masked_net import IDS, expected, lengths, masked, under
from tests.support.mutants import planted, pointwise, run
from tests.support.recurrent_nets import layer

MASK = IDS != 0
ALL = np.ones_like(MASK)
STEPS = MASK.shape[1]
WHOLE = lengths(ALL)
LENS = lengths(MASK)

CHANGES = [
    (masking.mask_unknown_to_one_layer, "LSTM 0", {"a": ALL}),
    (masking.mask_unknown_to_one_layer, "LSTM 1", {"b": ALL}),
    (
        masking.mask_known_to_one_layer_alone,
        "LSTM 0",
        {"b": ALL, "read": (ALL, ALL), "lens": WHOLE, "state": ALL},
    ),
    (masking.mask_unknown_to_one_direction, "Concat 0 input 1", {"b": ALL, "read": (MASK, ALL)}),
    (masking.steps_read_back_without_the_mask, "GatherND 0", {"read": (ALL, MASK)}),
    (masking.steps_read_back_without_the_mask, "GatherND 1", {"read": (MASK, ALL)}),
    (masking.padded_steps_repeated, "mask of ids", {"zeroed": False}),
    (masking.choice_by_the_mask_dropped, "Where 0", {"guarded": False}),
    (masking.sequence_lens_dropped, "LSTM 0", {"lens": WHOLE}),
    (masking.sequence_lens_too_long, "LSTM 0", {"lens": np.minimum(LENS + 1, STEPS)}),
    (masking.sequence_lens_too_short, "LSTM 0", {"lens": np.maximum(LENS - 1, 1)}),
    (masking.sequence_lens_of_the_first_row, "LSTM 0", {"lens": np.full_like(LENS, LENS[0])}),
]


def same(outputs, expected_outputs):
    for name, value in expected_outputs.items():
        np.testing.assert_allclose(outputs[name], value, atol=1e-5, err_msg=name)


def differ(one, other):
    return any(np.abs(one[name] - other[name]).max() > 1e-2 for name in one)


@pytest.mark.parametrize(("defect", "place", "change"), CHANGES)
def test_the_mask_is_heeded_elsewhere_only(defect, place, change):
    masked_elsewhere = expected(IDS, **change)
    same(run(planted(defect, masked())[place].model, {"ids": IDS}), masked_elsewhere)
    assert differ(masked_elsewhere, expected(IDS))


def test_the_state_after_the_last_step_is_read():
    """``sequence_lens`` still zeroes what comes after the last valid step."""
    (mutant,) = planted(masking.last_step_for_last_valid_step, masked()).values()
    outputs, right = run(mutant.model, {"ids": IDS}), expected(IDS)
    same(outputs, {"y": right["y"], "c": right["c"]})
    np.testing.assert_allclose(outputs["h"][0], right["h"][0], atol=1e-5)
    np.testing.assert_array_equal(outputs["h"][1:], 0)


def test_one_output_is_computed_without_the_mask():
    mutants = planted(masking.mask_unknown_to_one_output, masked())
    right, wrong = expected(IDS), under(IDS, ALL)
    assert list(mutants) == list("yhc")
    for name, mutant in mutants.items():
        same(run(mutant.model, {"ids": IDS}), {**right, name: wrong[name]})


def test_padded_steps_are_zeroed_where_they_were_repeated():
    (mutant,) = planted(masking.padded_steps_zeroed, masked(zeroed=False)).values()
    same(run(mutant.model, {"ids": IDS}), expected(IDS, zeroed=True))
    assert differ(expected(IDS, zeroed=True), expected(IDS, zeroed=False))


def test_padded_steps_stay_what_they_are():
    assert not planted(masking.padded_steps_repeated, masked(zeroed=False))
    assert not planted(masking.padded_steps_zeroed, masked(zeroed=True))


def test_a_layer_on_which_everything_depends_is_not_masked_alone():
    where = masked()
    del where.model.graph.output[:]
    steps = helper.make_tensor_value_info("steps_b", TensorProto.FLOAT, ["length", "batch", 3])
    where.model.graph.output.append(steps)
    assert list(planted(masking.mask_known_to_one_layer_alone, where)) == ["LSTM 0"]


@pytest.mark.parametrize("defect", defects_of(masking))
def test_nothing_is_planted_without_a_mask(defect):
    assert not planted(defect, layer())
    assert not planted(defect, pointwise("Tanh"))
    if not defect.__name__.startswith("sequence_lens"):
        assert not planted(defect, masked(padded=None))
