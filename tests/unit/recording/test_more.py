"""Cases that are added once others ran."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from harness.core.schema import Case, ModelSpec, TensorSpec
from harness.recording import more
from harness.recording.cases import BATCHES, LENGTHS
from harness.recording.measured import Measured
from harness.recording.more import More
from harness.recording.values import Values, coverage

TOKENS = TensorSpec("tokens", "int64", ("batch", "time"), 0, 9000)
OUTPUT = TensorSpec("y", "float32", ("batch", "time", 4))
SPEC = ModelSpec("m", "", (TOKENS,), (OUTPUT,), "m")


class Quick:
    def run(self, inputs, wide):
        return [("", np.zeros((*inputs["tokens"].shape, 4)))]


def added(spec=SPEC, lengths=LENGTHS, batches=BATCHES):
    values, refused = Values(spec), defaultdict(list)
    feed = values.feed(Case({"time": 10}, 64))
    first = Measured(feed.case, feed.formulas, feed.inputs, {"y": np.zeros((64, 10, 4))}, {})
    each = More(Quick(), spec, lengths, batches)
    found = {}
    for name in ("long", "reading"):
        found[name] = []
        for further in getattr(each, name)([first], values, refused):
            found[name].append(further)
            values.took(further)
    return found, refused


@pytest.fixture(autouse=True)
def any_time(monkeypatch):
    monkeypatch.setattr(more, "LONG_SECONDS", np.inf)
    monkeypatch.setattr(more, "READING_SECONDS", np.inf)


def test_the_rest_of_a_table_is_read():
    found, refused = added()
    ((long,), reading) = found["long"], found["reading"]
    assert long.case.lengths == {"time": 1024}
    assert {(f.case.lengths["time"], f.case.batch) for f in reading} == {(64, 64)}
    assert len({f.case.id for f in reading}) == len(reading) == 2
    assert coverage(SPEC, [long, *reading]) == {"tokens": [9000, 9000]}
    assert not refused


def test_lengths_and_batches_that_are_asked_for_are_all():
    assert added(lengths=(5, 9))[0]["long"] == []
    assert {f.case.lengths["time"] for f in added(lengths=(5, 9))[0]["reading"]} == {9}
    assert added(batches=(1, 2))[0]["reading"] == []


def test_what_would_take_too_long_is_left_out_and_told(monkeypatch):
    monkeypatch.setattr(more, "LONG_SECONDS", -1)
    monkeypatch.setattr(more, "READING_SECONDS", -1)
    found, refused = added()
    assert found == {"long": [], "reading": []}
    ((reason, sizes),) = refused.items()
    assert "it would take too long" in reason
    assert sizes == ["time=1024, batch=1"]


def test_outputs_that_would_be_too_large_are_told():
    found, refused = added(replace(SPEC, outputs=(replace(OUTPUT, axes=("batch", "time", 10**5)),)))
    assert found["long"] == []
    assert list(refused) == ["its outputs would have 102,400,000 values"]


class Echo:
    def run(self, inputs, wide):
        return [("", inputs["x"])]


@pytest.mark.parametrize(("least", "batches", "count"), [
    (0.02, BATCHES, 1), (0.0005, BATCHES, 0), (0.5, BATCHES, 0), (0.02, (1, 2), 0)
])  # fmt: skip
def test_small_values_of_an_output_are_sought_where_it_may_have_some(least, batches, count):
    x = TensorSpec("x", "float32", ("batch", "time", 2), -1.0, 1.0)
    spec = ModelSpec("m", "", (x,), (replace(x, name="y"),), "m")
    values = Values(spec)
    feed = values.feed(Case({"time": 10}, 64))
    y = np.linspace(least, 1, 64 * 10 * 2).reshape(64, 10, 2)
    first = Measured(feed.case, feed.formulas, feed.inputs, {"y": y}, {})
    feeds = list(More(Echo(), spec, LENGTHS, batches).small([first], values, defaultdict(list)))
    assert len(feeds) == count
    for found in feeds:
        sizes = np.abs(found.inputs["x"])
        assert sizes[sizes > 0].min() < sizes.max() * 1e-3
