"""What a padded step is, asked of a specification: by a value, a mask or the rows' lengths."""

from dataclasses import replace

import numpy as np
import pytest

from harness.core.schema import AT_THE_END, Case, Raggedness
from harness.graphs.example import example_inputs
from tests.support import doubler, padded_mean

COUNTS = [5, 2, 0]
"""How many of six steps are valid in each row of the inputs below."""


def every(like, kind=Raggedness.NONE):
    return padded_mean.inputs(like, Case({"sequence": 6}, 3, kind))


def first(counts, steps=6):
    return np.arange(steps) < np.array(counts)[:, None]


@pytest.mark.parametrize("like", padded_mean.LIKE)
def test_steps_that_are_padded_are_seen_to_be(like):
    spec, inputs = padded_mean.spec(like), every(like)
    assert spec.valid_steps(inputs).all()
    padded = spec.padded_outside(inputs, first(COUNTS))
    np.testing.assert_array_equal(spec.valid_steps(padded), first(COUNTS))
    assert all(padded[name].dtype == value.dtype for name, value in inputs.items())
    assert spec.valid_steps(inputs).all(), "the inputs themselves stay as they were"


@pytest.mark.parametrize("like", padded_mean.LIKE)
def test_what_a_golden_holds_at_a_padded_step_is_what_the_specification_says(like):
    spec = padded_mean.spec(like)
    for kind in set(spec.raggedness) - {Raggedness.NONE}:
        inputs = every(like, kind)
        valid = spec.valid_steps(inputs)
        assert valid.shape == (3, 6)
        assert valid.any()
        assert not valid.all()
        for name, value in spec.padded_outside(inputs, valid).items():
            np.testing.assert_array_equal(value, inputs[name], name)


@pytest.mark.parametrize("like", padded_mean.LIKE)
def test_an_example_ends_with_padding_in_all_rows_but_the_first(like):
    spec = padded_mean.spec(like)
    valid = spec.valid_steps(example_inputs(spec))
    counts = valid.sum(axis=1)
    np.testing.assert_array_equal(valid, first(counts, valid.shape[1]))
    assert counts[0] == valid.shape[1] > max(counts[1:])
    assert min(counts) >= 1


def test_padding_is_what_the_padded_input_says_at_every_value_of_a_step():
    spec, inputs = padded_mean.spec("frames"), every("frames")
    inputs["frames"][1, 2, :3] = spec.padding
    assert spec.valid_steps(inputs)[1, 2]
    inputs["frames"][1, 2, 3] = spec.padding
    assert not spec.valid_steps(inputs)[1, 2]


def test_where_padding_can_lie():
    kinds = {like: padded_mean.spec(like).raggedness for like in padded_mean.LIKE}
    assert kinds.pop("lengths") == AT_THE_END
    assert set(kinds.values()) == {tuple(Raggedness)}


def test_rows_that_are_never_empty():
    kinds = replace(padded_mean.spec("zero"), never_empty=True).raggedness
    assert kinds == tuple(kind for kind in Raggedness if kind is not Raggedness.EMPTY)


def test_a_model_whose_steps_are_all_valid_has_no_padding():
    assert doubler.SPEC.ragged is None
    assert doubler.SPEC.raggedness == (Raggedness.NONE,)
    assert doubler.SPEC.valid_steps({"x": np.zeros((2, 3, 3), np.float32)}) is None
    assert example_inputs(doubler.SPEC)["x"].any()


@pytest.mark.parametrize(("low", "high", "padding"), [(-5, -1, 0), (0, 3, 0), (0, 4, 3)])
def test_an_example_never_draws_the_padding(low, high, padding):
    spec = padded_mean.spec("last id")
    ids = replace(spec.inputs[0], low=low, high=high)
    spec = replace(spec, inputs=(ids,), padding=padding)
    inputs = example_inputs(spec)
    assert spec.valid_steps(inputs)[0].all()
