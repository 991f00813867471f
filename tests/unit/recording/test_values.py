"""The values of cases: what they hold, and that every row of a table is read."""

from dataclasses import replace

import numpy as np
import pytest

from harness.core.schema import Case, ModelSpec, Raggedness, RowLengths, TensorSpec
from harness.recording.cases import BATCHES, LENGTHS, long_case, plan
from harness.recording.values import Values, coverage, ends

TOKENS = TensorSpec("tokens", "int64", ("batch", "time"), 1, 1001)
FRAMES = TensorSpec("x", "float32", ("batch", "time", 4), -2, 3)
SPEC = ModelSpec("m", "", (TOKENS, FRAMES), (), "m", padded="tokens")


def fed(spec):
    values, feeds = Values(spec), []
    for case in plan(spec, LENGTHS, BATCHES):
        feeds.append(values.feed(case))
        values.took(feeds[-1])
    return values, feeds


def test_every_value_of_a_range_is_read_and_no_padding_among_them():
    values, feeds = fed(SPEC)
    assert coverage(SPEC, feeds) == {"tokens": [1000, 1000]}
    assert values.unread() < 0
    for feed in feeds:
        valid = SPEC.valid_steps(feed.inputs)
        assert valid.sum(axis=1).tolist() == feed.formulas["tokens"].get(
            "counts", [valid.shape[1]] * feed.case.batch
        )
        tokens = feed.inputs["tokens"][valid]
        assert tokens.size == 0 or (tokens.min() >= 1 and tokens.max() <= 1000)


def test_a_value_is_not_drawn_again_while_others_are_left():
    wide = replace(SPEC, inputs=(replace(TOKENS, high=10**6), FRAMES))
    values, feeds = fed(wide)
    permuted = [f for f in feeds if "permuted" in f.formulas["tokens"]]
    read = np.concatenate([f.inputs["tokens"][wide.valid_steps(f.inputs)] for f in permuted])
    assert len(np.unique(read)) == len(read) == 10**6 - 1 - values.unread()


def test_a_range_whose_steps_are_hidden_by_lengths_is_counted_where_it_shows():
    lengths = TensorSpec("n", "int64", ("batch",))
    spec = replace(
        SPEC, inputs=(replace(TOKENS, high=301), lengths), padded=None, lengths={"n": "time"}
    )
    _, feeds = fed(spec)
    (read, of), hidden = coverage(spec, feeds)["tokens"], 0
    seen = set()
    for feed in feeds:
        for row, count in zip(feed.inputs["tokens"], feed.inputs["n"], strict=False):
            seen |= set(row[: count if feed.inputs["n"].size > 1 else None].tolist())
    assert read == len(seen) == of + hidden == 300


def test_values_hold_both_ends_zeros_and_runs():
    _, feeds = fed(SPEC)
    tokens = np.concatenate([f.inputs["tokens"].ravel() for f in feeds])
    frames = np.concatenate([f.inputs["x"].ravel() for f in feeds])
    assert {1, 1000} <= set(tokens.tolist())
    high = np.nextafter(np.float32(3), np.float32(0))
    assert {-2.0, 0.0, float(high)} <= set(frames.astype(float).tolist())
    plain = [f for f in feeds if "ends" not in f.formulas["x"]]
    assert not any((f.inputs["x"] == -2).any() for f in plain)
    assert len(plain) > len(feeds) // 2
    rows = [f.inputs["tokens"][0] for f in feeds if f.case.raggedness is Raggedness.NONE]
    assert any(len(row) > 4 and len(set(row.tolist())) == 1 for row in rows)


@pytest.mark.parametrize(("axes", "held"), [((), False), ((4,), False), ((40,), True)])
def test_a_valid_step_never_looks_like_padding(axes, held):
    tensor = TensorSpec("x", "float32", ("batch", "time", *axes), -1, 1)
    spec = ModelSpec("m", "", (tensor,), (), "m", padded="x")
    assert (0.0 in ends(spec, tensor)) == held
    assert 0.0 in ends(replace(spec, padded=None), tensor)
    feed = Values(spec).feed(Case({"time": 64}, 16, Raggedness.RIGHT, rows=RowLengths.TWO), turn=1)
    valid = spec.valid_steps(feed.inputs)
    assert valid.sum(axis=1).tolist() == feed.formulas["x"]["counts"]


def test_nan_is_fed_where_the_description_says_so():
    may = replace(FRAMES, nan=True)
    _, feeds = fed(replace(SPEC, inputs=(TOKENS, may)))
    with_nan = [f for f in feeds if np.isnan(f.inputs["x"]).any()]
    assert 3 < len(with_nan) < len(feeds) // 2
    assert not any(np.isnan(f.inputs["x"][0]).any() for f in with_nan)
    assert not any(np.isnan(f.inputs["x"]).any() for f in fed(SPEC)[1])


WRONG_WHERE = {
    "a first row shorter than a later one": lambda x, valid: valid.sum(axis=1).argmax() > 0,
    "a batch beyond 16": lambda x, valid: len(valid) > 16,
    "two empty rows": lambda x, valid: (~valid.any(axis=1)).sum() == 2,
    "an empty row that is not the first": lambda x, valid: not valid[1:].any(axis=1).all(),
    "a full row beside a padded one": lambda x, valid: (
        0 < valid.sum(axis=1).min() < valid.sum(axis=1).max() == valid.shape[1]
    ),
    "the last token": lambda x, valid: (x["tokens"] == 1000).any(),
    "a value that is exactly 0": lambda x, valid: (x["x"] == 0).any(),
    "one token all along": lambda x, valid: any(
        len(row) > 4 and len(set(row)) == 1 for row in x["tokens"].tolist()
    ),
    "more than 257 steps": lambda x, valid: valid.shape[1] > 257,
}


@pytest.mark.parametrize("where", WRONG_WHERE)
def test_a_graph_that_is_wrong_there_alone_is_fed_it(where):
    """What none of the uniform draws at the former sizes fed."""
    _, feeds = fed(SPEC)
    feeds.append(Values(SPEC).feed(long_case(SPEC, BATCHES), turn=0))
    hit = [f for f in feeds if WRONG_WHERE[where](f.inputs, SPEC.valid_steps(f.inputs))]
    assert 0 < len(hit) < len(feeds)
    assert len({f.case.lengths["time"] for f in hit}) > 1 or "257" in where
