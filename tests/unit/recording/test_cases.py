"""The cases that a user model is recorded at."""

from dataclasses import replace

import pytest

from harness.core.schema import ModelSpec, Raggedness, TensorSpec
from harness.recording.cases import BATCHES, LENGTHS, plan

X = TensorSpec("x", "float32", ("batch", "time", 4))
Y = TensorSpec("y", "float32", ("batch", "other", 4))
PLAIN = ModelSpec("m", "", (X,), (), "m")
PADDED = replace(PLAIN, padded="x")
COUNTED = replace(
    PLAIN, inputs=(X, TensorSpec("n", "int64", ("batch",))), lengths={"n": "time"}
)  # fmt: skip


def kinds(cases):
    return {case.raggedness for case in cases}


def test_every_length_once_and_batches_in_turn():
    cases = plan(PLAIN, LENGTHS, BATCHES)
    assert {case.lengths["time"] for case in cases} == set(LENGTHS)
    assert {case.batch for case in cases} >= {1, 2, 3, 5, 16}
    assert any(case.batch == case.lengths["time"] > 1 for case in cases)
    assert kinds(cases) == {Raggedness.NONE}
    assert len({case.id for case in cases}) == len(cases)


def test_no_other_size_where_the_user_names_them():
    cases = plan(PADDED, (2, 6), (4,))
    assert {case.lengths["time"] for case in cases} == {2, 6}
    assert {case.batch for case in cases} == {4}


@pytest.mark.parametrize(
    ("spec", "right", "expected"),
    [
        (PADDED, False, set(Raggedness)),
        (PADDED, True, {Raggedness.NONE, Raggedness.RIGHT, Raggedness.EMPTY}),
        (COUNTED, False, {Raggedness.NONE, Raggedness.RIGHT, Raggedness.EMPTY}),
    ],
)
def test_where_padding_lies(spec, right, expected):
    assert kinds(plan(spec, LENGTHS, BATCHES, right)) == expected


def test_every_axis_takes_every_length_it_can():
    spec = replace(PLAIN, inputs=(X, Y))
    cases = plan(spec, (1, 2, 3, 9), BATCHES)
    assert {case.lengths["time"] for case in cases} == {1, 2, 3, 9}
    assert {case.lengths["other"] for case in cases} == {1, 2, 3, 9}
    assert any(case.lengths["time"] > case.lengths["other"] for case in cases)
    assert any(case.lengths["time"] < case.lengths["other"] for case in cases)


def test_a_batch_that_is_fixed_is_one():
    fixed = replace(PLAIN, inputs=(TensorSpec("x", "float32", (1, "time")),))
    assert {case.batch for case in plan(fixed, LENGTHS, BATCHES)} == {1}


def test_few_sizes_are_drawn_more_than_once():
    cases = plan(PLAIN, (576,), (1, 3))
    assert {(case.lengths["time"], case.batch) for case in cases} == {(576, 1), (576, 3)}
    assert [case.draw for case in cases] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len({case.id for case in cases}) == 8
    assert {case.draw for case in plan(PLAIN, LENGTHS, BATCHES)} == {0}


def test_one_batch_is_larger_than_an_example_unless_batches_are_named():
    assert max(case.batch for case in plan(PLAIN, (1, 2, 7, 33), BATCHES)) == 16
    assert max(case.batch for case in plan(PLAIN, (1, 2, 7, 33), (1, 2))) == 2
