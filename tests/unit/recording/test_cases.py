"""The cases that a user model is recorded at."""

from collections import defaultdict
from dataclasses import replace

import pytest

from harness.core.axis_rules import AxisRule
from harness.core.schema import Case, ModelSpec, Raggedness, RowLengths, TensorSpec
from harness.recording.cases import BATCHES, BETWEEN, LENGTHS, long_case, milder, plan
from reference_models.cases import drawn

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
    lengths = [case.lengths["time"] for case in cases]
    assert set(lengths) > set(LENGTHS)
    assert len(set(lengths)) == len(LENGTHS) + len(BETWEEN)
    other = {case.lengths["time"] for case in plan(replace(PLAIN, name="n"), LENGTHS, BATCHES)}
    assert other > set(LENGTHS)
    assert other != set(lengths)
    at = defaultdict(set)
    for case in cases:
        at[case.batch].add(case.lengths["time"])
    assert set(at) == {1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 64}
    assert all(len(different) > 1 for different in at.values())
    assert all(case.batch * case.lengths["time"] <= 4096 for case in cases)
    assert any(case.batch == case.lengths["time"] > 1 for case in cases)
    assert kinds(cases) == {Raggedness.NONE}
    assert len({case.id for case in cases}) == len(cases)


def test_no_other_size_where_the_user_names_them():
    cases = plan(PADDED, (2, 6), (4,))
    assert {case.lengths["time"] for case in cases} == {2, 6}
    assert {case.batch for case in cases} == {4}


def test_axes_take_the_lengths_that_their_rules_allow_and_both_ends():
    total = TensorSpec("z", "float32", ("batch", "total"))
    rules = {
        "time": AxisRule(4, 10, 90),
        "total": AxisRule(terms={"time": 1, "other": 2}),
    }
    spec = replace(PLAIN, inputs=(X, Y, total), rules=rules)
    cases = plan(spec, LENGTHS, BATCHES)
    times = {case.lengths["time"] for case in cases}
    assert {n for n in times if n % 4 == 0} == times
    assert (min(times), max(times)) == (12, 88)
    assert all(c.lengths["total"] == c.lengths["time"] + 2 * c.lengths["other"] for c in cases)
    assert long_case(spec, BATCHES).lengths["time"] in range(12, 89)
    few = {case.lengths["time"] for case in plan(spec, (12, 16), (1,))}
    assert few == {12, 16, 88}


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


def counts(spec, case):
    return drawn(spec, case, 5)[0]["x"]["counts"]


HAS = {
    "a full row that is not the first, beside padded ones": lambda n, t: (
        n[0] < t and t in n[1:] and 0 < min(n) < t
    ),
    "a first row shorter than a later one": lambda n, t: 0 < n[0] < max(n[1:]),
    "unsorted lengths, two alike": lambda n, t: (
        n != sorted(n) and n != sorted(n, reverse=True) and 0 < len(set(n)) < len(n) and min(n) > 0
    ),
    "sorted lengths": lambda n, t: n == sorted(n, reverse=True) and n[0] == t > n[-1] > 0,
    "an empty row that is not the first": lambda n, t: n.count(0) == 1 and n[0] and len(n) > 1,
    "two empty rows": lambda n, t: n.count(0) == 2 and len(n) > 2,
}


@pytest.mark.parametrize("what", HAS)
@pytest.mark.parametrize("lengths", [LENGTHS, (5, 9, 12, 33)])
def test_what_production_feeds_comes_at_several_lengths(what, lengths):
    at = {
        case.lengths["time"]
        for case in plan(PADDED, lengths, BATCHES)
        if case.raggedness is not Raggedness.NONE
        and case.batch > 1
        and HAS[what](counts(PADDED, case), case.lengths["time"])
    }
    assert len(at) > 1
    assert lengths != LENGTHS or len(at - set(LENGTHS)) > 0


@pytest.mark.parametrize("steps", [2, 3, 17])
@pytest.mark.parametrize("batch", [2, 3, 4, 5, 64])
def test_rows_are_as_their_kind_says(steps, batch):
    for kind in (RowLengths.MIXED, RowLengths.DESCENDING, RowLengths.LATE, RowLengths.TWO):
        empty = {RowLengths.LATE: 1, RowLengths.TWO: 2}.get(kind, 0)
        case = Case({"time": steps}, batch, Raggedness.RIGHT, rows=kind)
        rows = counts(PADDED, case)
        assert len(rows) == batch
        assert rows.count(0) == min(empty, batch - 1)
        assert steps in rows
        assert rows[0] < steps or kind not in (RowLengths.MIXED,)


def test_what_is_milder_ends_without_padding():
    case = Case({"time": 9}, 4, Raggedness.EMPTY, rows=RowLengths.TWO)
    tried = []
    while case := milder(case):
        tried.append((case.raggedness, case.rows))
    assert tried == [
        (Raggedness.RIGHT, RowLengths.MIXED),
        (Raggedness.RIGHT, RowLengths.DESCENDING),
        (Raggedness.NONE, RowLengths.FIRST),
    ]


def test_the_long_case_has_one_long_axis():
    case = long_case(replace(PADDED, inputs=(X, Y)), BATCHES)
    assert case.lengths == {"time": 1024, "other": 32}
    assert (case.batch, case.rows) == (2, RowLengths.MIXED)
    assert long_case(replace(PLAIN, inputs=(TensorSpec("x", "int64", ("batch",)),)), (1,)) is None


def test_wide_batches_are_fewer_rows_where_outputs_are_large():
    words = TensorSpec("words", "float32", ("batch", "time", 50_000))
    cases = plan(replace(PLAIN, outputs=(words,)), LENGTHS, BATCHES)
    assert max(c.batch * c.lengths["time"] for c in cases if c.batch > 3) * 50_000 <= 2**23
    assert max(case.batch for case in cases) == 64
    assert {c.batch for c in cases if c.lengths["time"] > 100} == {1, 2, 3}
