"""Inputs that reach the decisions of a graph which the usual cases do not."""

import numpy as np
import pytest
from onnx import parser

from harness import runtimes
from harness.core.schema import ModelSpec, TensorSpec
from harness.recording import decisions
from harness.recording.cases import BATCHES, LENGTHS, plan
from harness.recording.measured import Measured
from harness.recording.values import Values
from harness.runtimes import decisions as counted

WEIGHTS = np.array([1, -1, 1, 1, -1, -1, 1, -1]) * 0.3
SPEC = ModelSpec("m", "", (TensorSpec("x", "float32", ("batch", "time", 8)),), (), "m")
HEAD = '<ir_version: 8, opset_import: ["" : 17]> net (float[n, t, 8] x) => (float[n, t, 1] y)'
PRODUCT = f"""w = Constant<value = float[8, 1] {{{", ".join(map(str, WEIGHTS))}}}>()
    p = MatMul(x, w)"""


def clipped(bound, text="y = Clip(p, lo, hi)"):
    bounds = f"lo = Constant<value_float = -{bound}>() hi = Constant<value_float = {bound}>()"
    return parser.parse_model(f"{HEAD} {{ {PRODUCT} {bounds} {text} }}")


def results(spec=SPEC, lengths=LENGTHS, batches=BATCHES):
    values = Values(spec)
    feeds = [values.feed(case) for case in plan(spec, lengths, batches) if case.longest < 300]
    return [Measured(f.case, f.formulas, f.inputs, {}, {}) for f in feeds]


def searched(model, lengths=LENGTHS, batches=BATCHES):
    cases = results(lengths=lengths, batches=batches)
    return decisions.search(model, SPEC, cases, lengths, lambda text: None)


@pytest.fixture(autouse=True)
def as_long_as_it_takes(monkeypatch):
    monkeypatch.setattr(decisions, "SECONDS", np.inf)


def test_a_bound_that_no_case_reaches_is_reached():
    assert all(abs(r.inputs["x"] @ WEIGHTS).max() < 2.39 for r in results())
    feeds, found = searched(clipped(2.39))
    assert found.evidence() == {"count": 2, "both_ways": 2, "tries": found.tries, "one_way": []}
    assert 0 < len(feeds) <= 2
    reached = np.concatenate([(feed.inputs["x"] @ WEIGHTS).ravel() for feed in feeds])
    assert reached.max() > 2.39
    assert reached.min() < -2.39


def test_what_is_reached_never_is_told_and_the_nearest_inputs_are_kept():
    """A bound that was altered from 2.3 to 5 differs there."""
    feeds, found = searched(clipped(5.0))
    told = found.evidence()
    assert (told["count"], told["both_ways"], told["tries"]) == (2, 0, decisions.TRIES)
    assert told["one_way"][0] == {
        "node": "y",
        "operator": "Clip",
        "condition": "it is below its low end",
        "never": "true",
    }
    products = [feed.inputs["x"] @ WEIGHTS for feed in feeds]
    assert any((np.clip(p, -2.3, 2.3) != np.clip(p, -5, 5)).any() for p in products)


def test_cases_that_take_all_ways_are_enough():
    feeds, found = searched(clipped(0.1))
    assert (feeds, found.tries) == ([], 0)
    assert found.evidence()["both_ways"] == 2


def test_the_sizes_are_those_that_were_asked_for():
    feeds, _ = searched(clipped(5.0), (6, 11), (2,))
    assert feeds
    assert {feed.case.lengths["time"] for feed in feeds} <= {6, 11}
    assert {feed.case.batch for feed in feeds} == {2}


def test_inputs_stay_within_their_range_and_valid():
    tokens = TensorSpec("tokens", "int64", ("batch", "time"), 1, 50)
    frames = TensorSpec("x", "float32", ("batch", "time", 8), -2, 7)
    spec = ModelSpec("m", "", (tokens, frames), (), "m", padded="tokens")
    maker = decisions._Maker(spec, results(spec), LENGTHS)
    seen = set()
    for number in range(decisions.TRIES):
        feed = maker.feed(number, maker.ways(number))
        valid = spec.valid_steps(feed.inputs)
        counts = feed.formulas["tokens"].get("counts", [valid.shape[1]] * len(valid))
        assert valid.sum(axis=1).tolist() == counts
        values = feed.inputs["tokens"][valid]
        assert not values.size or 1 <= values.min() <= values.max() < 50
        assert -2 <= feed.inputs["x"].min() <= feed.inputs["x"].max() <= 7
        seen |= {*values.tolist()}
    assert {1, 49} <= seen


def test_a_graph_that_is_not_measured_says_why(monkeypatch):
    _, found = searched(clipped(1.0, "y = com.example.Clip(p, lo, hi) z = Relu(y)"))
    assert "com.example" in found.evidence()["unmeasured"]
    monkeypatch.setattr(counted, "RUNTIME", "tract")
    monkeypatch.setitem(runtimes.RUNTIMES, "tract", "nowhere:RUNTIME")
    _, found = searched(clipped(1.0))
    assert found.evidence()["unmeasured"].startswith("tract: ")


def test_a_graph_without_a_decision_that_inputs_make():
    feeds, found = searched(parser.parse_model(f"{HEAD} {{ {PRODUCT} y = Tanh(p) }}"))
    assert feeds == []
    assert found.evidence() == {"count": 0, "both_ways": 0, "tries": 0, "one_way": []}
