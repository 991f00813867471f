"""Defects of production's batches and values: wrong where the condition holds, and only there."""

import numpy as np
import pytest

from harness.core.schema import TensorSpec
from harness.mutation.defects import production
from tests.support.mutants import STEPS, Echo, planted, pointwise, spec, tagger

ROWS = [
    (production.wrong_for_batches_above_16, [[4]] * 17, [[4]] * 16),
    (production.wrong_for_batches_of_a_power_of_two, [[4]] * 8, [[4]] * 6),
    (production.wrong_where_the_first_row_is_shorter, [[1, 0], [1, 2]], [[1, 2], [1, 0]]),
    (production.wrong_where_two_rows_are_empty, [[0, 0], [1, 2], [0, 0]], [[0, 0], [1, 2]]),
    (production.wrong_where_a_later_row_is_empty, [[1, 2], [0, 0]], [[0, 0], [1, 2]]),
    (production.wrong_where_a_row_is_full, [[1, 2], [3, 0]], [[1, 0], [3, 0]]),
    (production.wrong_where_rows_are_equally_long, [[1, 0], [2, 0]], [[1, 2], [3, 4]]),
    (production.wrong_at_the_highest_value, [[1, 5]], [[1, 4]]),
    (production.wrong_at_the_lowest_value, [[1, 5]], [[0, 4]]),
    (production.wrong_where_a_token_repeats, [[3, 3]], [[3, 0, 0, 3]]),
]


@pytest.mark.parametrize(("defect", "wrong", "right"), ROWS)
def test_ids_are_heeded(defect, wrong, right):
    (mutant,) = planted(defect, tagger()).values()
    assert mutant.certain
    session = mutant.wrap(Echo(y="ids"))
    for ids, off in ((wrong, 1), (right, 0)):
        inputs = {"ids": np.array(ids, np.int32)}
        np.testing.assert_array_equal(dict(session.run(inputs))["y"], inputs["ids"] + off)


@pytest.mark.parametrize(
    ("defect", "value"),
    [(production.wrong_at_exact_zeros, 0.0), (production.wrong_beyond_one, -1.5)],
)
def test_floats_are_heeded_where_their_range_has_them(defect, value):
    described = spec([TensorSpec("x", "float32", STEPS, -2, 2)], pointwise("Abs").spec.outputs)
    subject = type(pointwise("Abs"))(pointwise("Abs").model, described)
    session = planted(defect, subject)["x"].wrap(Echo(y="x"))
    sound = np.full((2, 3, 5), 0.5, np.float32)
    np.testing.assert_array_equal(dict(session.run({"x": sound}))["y"], sound)
    x = sound.copy()
    x[1, 2, 3] = value
    off = np.float32(0.01) * np.abs(x).max()
    np.testing.assert_array_equal(dict(session.run({"x": x}))["y"], x + off)
    assert not planted(production.wrong_beyond_one, pointwise("Abs"))


def test_what_a_model_lacks_has_no_place():
    for defect in (production.wrong_where_two_rows_are_empty, production.wrong_at_the_lowest_value):
        assert not planted(defect, pointwise("Abs"))
