"""Defects of production's batches and values: wrong where the condition holds, and only there."""

import numpy as np
import pytest
from onnx import helper

from harness.core.schema import TensorSpec
from harness.mutation.defects import production
from harness.mutation.defects.defect import Specimen
from tests.support.mutants import STEPS, planted, pointwise, run, spec, subject, tagger

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
    for rows, off in ((wrong, 0.01), (right, 0.0)):
        inputs = {"ids": np.array(rows, np.int32)}
        sound, y = (run(model, inputs)["y"] for model in (tagger().model, mutant.model))
        np.testing.assert_allclose(y, sound + off * sound.max(), rtol=1e-6)


@pytest.mark.parametrize(
    ("defect", "value"),
    [(production.wrong_at_exact_zeros, 0.0), (production.wrong_beyond_one, -1.5)],
)
def test_floats_are_heeded_where_their_range_has_them(defect, value):
    described = spec([TensorSpec("x", "float32", STEPS, -2, 2)], pointwise("Identity").spec.outputs)
    model = planted(defect, Specimen(pointwise("Identity").model, described))["x"].model
    sound = np.full((2, 3, 5), 0.5, np.float32)
    np.testing.assert_array_equal(run(model, {"x": sound})["y"], sound)
    x = sound.copy()
    x[1, 2, 3] = value
    off = np.float32(0.01) * np.abs(x).max()
    np.testing.assert_array_equal(run(model, {"x": x})["y"], x + off)
    assert not planted(production.wrong_beyond_one, pointwise("Identity"))


@pytest.mark.parametrize(
    ("tensor", "about", "value"),
    [
        (
            TensorSpec("m", "float32", ("batch", "steps")),
            {"masks": {"m": "steps"}},
            [[1, 0], [1, 1]],
        ),
        (TensorSpec("n", "int32", ("batch",)), {"lengths": {"n": "steps"}}, [1, 2]),
    ],
)
def test_rows_are_those_of_a_mask_or_of_lengths(tensor, about, value):
    plain = pointwise("Identity")
    described = spec([*plain.spec.inputs, tensor], plain.spec.outputs, **about)
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    mutants = planted(
        production.wrong_where_the_first_row_is_shorter, subject(nodes, {}, described)
    )
    x = np.ones((2, 2, 5), np.float32)
    for rows, off in ((value, 0.01), (value[::-1], 0)):
        inputs = {"x": x, tensor.name: np.array(rows, tensor.dtype)}
        np.testing.assert_allclose(run(mutants["rows"].model, inputs)["y"], x + off, rtol=1e-6)


def test_integers_are_off_by_one():
    described = spec(
        [TensorSpec("x", "int64", ("batch", "steps"), 0, 9)],
        [TensorSpec("y", "int64", ("batch", "steps"))],
    )
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = planted(production.wrong_at_the_lowest_value, subject(nodes, {}, described))["x"].model
    assert run(model, {"x": np.array([[0, 4]])})["y"].tolist() == [[1, 5]]


def test_what_a_model_lacks_has_no_place():
    for defect in (production.wrong_where_two_rows_are_empty, production.wrong_at_the_lowest_value):
        assert not planted(defect, pointwise("Abs"))
