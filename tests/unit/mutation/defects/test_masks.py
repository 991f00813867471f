"""Masks that take the wrong steps as valid: what each planted defect computes."""

import numpy as np
import pytest

from harness.mutation.defects import masks
from harness.mutation.defects.defect import defects_of
from tests.support.masked_net import IDS, masked, under
from tests.support.mutants import planted, pointwise, run, tagger
from tests.support.recurrent_nets import layer

MASK = IDS != 0
COUNT = MASK.sum(axis=1)[:, None]
AT = np.arange(MASK.shape[1])


def without(mask, at):
    """The mask without its first (0) or last (-1) step of each row."""
    changed = mask.copy()
    for row in changed:
        if row.any():
            row[np.flatnonzero(row)[at]] = False
    return changed


CHANGES = [
    (masks.mask_ignored, np.ones_like(MASK)),
    (masks.mask_inverted, ~MASK),
    (masks.mask_reversed, MASK[:, ::-1]),
    (masks.mask_late, np.roll(MASK, 1, axis=1)),
    (masks.mask_of_the_first_row, np.broadcast_to(MASK[:1], MASK.shape)),
    (masks.mask_of_another_row, np.roll(MASK, 1, axis=0)),
    (masks.mask_of_another_id, IDS != 1),
    (masks.padding_taken_to_be_last, AT < COUNT),
    (masks.padding_taken_to_be_first, MASK.shape[1] - COUNT <= AT),
    (masks.gaps_filled, MASK[:, ::-1].cumsum(axis=1)[:, ::-1] > 0),
    (masks.last_valid_step_dropped, without(MASK, -1)),
    (masks.first_valid_step_dropped, without(MASK, 0)),
    (masks.one_padded_step_taken_as_valid, ~without(~MASK, 0)),
]


def same(outputs, expected_outputs):
    for name, value in expected_outputs.items():
        np.testing.assert_allclose(outputs[name], value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("zeroed", [True, False])
def test_the_graph_computes_what_numpy_does(zeroed):
    same(run(masked(zeroed).model, {"ids": IDS}), under(IDS, MASK, zeroed))


def test_every_defect_is_tested():
    assert [defect for defect, _ in CHANGES] == defects_of(masks)


@pytest.mark.parametrize(("defect", "mask"), CHANGES)
def test_the_graph_computes_with_the_changed_mask(defect, mask):
    (mutant,) = planted(defect, masked()).values()
    assert mutant.place == "mask of ids"
    changed = run(mutant.model, {"ids": IDS})
    same(changed, under(IDS, mask))
    assert np.abs(changed["y"] - under(IDS, MASK)["y"]).max() > 1e-2


@pytest.mark.parametrize("defect", defects_of(masks))
def test_nothing_is_planted_without_a_mask(defect):
    assert not planted(defect, masked(padded=None))
    assert not planted(defect, tagger()), "its padded input is not compared with an id"
    assert not planted(defect, layer())
    assert not planted(defect, pointwise("Tanh"))
