"""ci.architectures.eager: graphs that are what their model is, and graphs that are not."""

import math

import numpy as np
import onnx
import pytest
import torch

from ci.architectures import eager, eager_inputs, float64
from ci.architectures.eager_inputs import BATCHES, LENGTHS, Input
from harness.subjects import describe

MASKED = ("x: float32[batch, time, 3]", "mask: int64[batch, time], mask of time")
GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
sums (float[batch, time, 3] x, int64[batch, time] mask) => (float[batch, time, 3] y)
<int64[1] last = {{-1}}, int64[3] sevens = {{-1, 7, 3}}, int64[1] zero = {{0}},
 int64[1] one = {{1}}, int64[1] seven = {{7}}, float ten = {{10}}, float huge = {{1e8}},
 int64 time = {{1}}>
{{
  kept = Cast<to: int = 1>(mask)
  rows = Unsqueeze(kept, last)
  valid = Mul(x, {factor})
  {body}
}}
"""
RIGHT = "y = CumSum(valid, time)"


class Sums(torch.nn.Module):
    """Running sums of the valid steps."""

    def forward(self, x, mask):
        return torch.cumsum(x * mask[..., None].to(x.dtype), 1)


class Short(Sums):
    """Takes no more than fifty steps."""

    def forward(self, x, mask):
        if x.shape[1] > 50:
            raise ValueError("too long")
        return super().forward(x, mask)


def found(folder, body=RIGHT, factor="rows", net=Sums, lines=MASKED, told=()):
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH.format(body=body, factor=factor)), path)
    return eager.agreement(path, float64.of("torch", net(), net), describe.description(lines), told)


def test_a_right_graph_agrees_at_every_length_batch_and_padding(tmp_path):
    agreement = found(tmp_path)
    assert agreement.lengths == len(LENGTHS) == 9
    assert agreement.comparisons > 3 * len(LENGTHS) * len(BATCHES)
    assert 0 < agreement.worst < 1e-5
    assert not agreement.wrong
    assert agreement.figures()["wrong"] == 0


@pytest.mark.parametrize(
    ("body", "factor", "told"),
    [
        ("y = CumSum<reverse: int = 1>(valid, time)", "rows", "time=127 batch=1 full: y"),
        (RIGHT, "ten", "time=1 batch=1 full: y"),
        ("y = CumSum(x, time)", "rows", "batch=1 mixed: y"),
        (
            "seen = Slice(valid, zero, seven, one)\n  y = CumSum(seen, time)",
            "rows",
            "(1, 7, 3) for",
        ),
        ("some = Reshape(valid, sevens)\n  y = CumSum(some, time)", "rows", "does not run"),
        ("y = CumSum<exclusive: int = 1>(valid, time)", "rows", "time=1 batch=1 full: y"),
    ],
    ids=["direction", "weights", "mask", "length", "baked", "step"],
)
def test_what_is_wrong_is_reported(tmp_path, body, factor, told):
    agreement = found(tmp_path, body, factor)
    assert any(told in line for line in agreement.wrong)
    assert agreement.figures()["wrong"] == len(agreement.wrong) > 0
    assert agreement.figures()["first_wrong"] == agreement.wrong[0]


def test_padded_steps_are_left_out_where_they_mean_nothing(tmp_path):
    body = "y = CumSum(x, time)"
    some = [MASKED[0], MASKED[1] + ", right, never empty"]
    assert found(tmp_path, body, lines=some).wrong
    assert not found(tmp_path, body, lines=[some[0], some[1] + ", valid steps only"]).wrong


def test_a_kind_of_padding_that_the_bundle_does_not_promise_is_counted_by_itself(tmp_path):
    class Least(Sums):
        """Adds one to rows without a valid step."""

        def forward(self, x, mask):
            return super().forward(x, mask) + (mask.sum(1) == 0)[:, None, None].to(x.dtype)

    told = ["rows without a valid step: it has two answers there"]
    agreement = found(tmp_path, net=Least, told=told)
    assert agreement.unpromised
    assert all("empty: y" in line for line in agreement.unpromised)
    assert not agreement.wrong
    assert found(tmp_path, net=Least).wrong == agreement.unpromised
    body, told = "y = CumSum(x, time)", ["7 padded steps of y, of 9: it means nothing"]
    right = [MASKED[0], MASKED[1] + ", right, never empty"]
    assert not found(tmp_path, body, lines=right, told=told).wrong


def test_lengths_that_the_model_refuses_are_replaced_by_others(tmp_path):
    agreement = found(tmp_path, net=Short)
    assert agreement.lengths == len(LENGTHS)
    assert "time=127 batch=1 full: ValueError: too long" in agreement.refused
    assert not agreement.wrong


def test_a_model_that_refuses_everything_does_not_agree(tmp_path):
    class Never(Sums):
        def forward(self, x, mask):
            raise ValueError("never")

    (line,) = found(tmp_path, net=Never).wrong
    assert line.startswith("nothing compared: time=1 ")


def test_what_float32_alone_explains_is_counted_and_much_more_is_wrong(tmp_path):
    class Lost(Sums):
        """Adds what float32 does not hold beside its sums, and takes it away."""

        def forward(self, x, mask):
            return super().forward(x, mask) + 1e8 - 1e8

    body = "large = Add(valid, huge)\n  y = Sub(large, huge)"
    lost = found(tmp_path, body, net=Lost)
    assert lost.drowned
    assert not lost.wrong
    assert found(tmp_path, "y = Mul(valid, huge)", net=Lost).wrong


@pytest.mark.parametrize(
    ("given", "right", "apart"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.1], [1.0, 2.0], 0.1 / 3.5),
        ([1.0, -1e9], [1.1, -1e9], 0.1 / (1.1 + (1.1 + 1e9) / 2)),
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0, 2.0], [1.0, np.nan], math.inf),
        ([1.0, np.nan], [1.0, 2.0], math.inf),
        ([1.0, -np.inf], [1.0, np.inf], math.inf),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([2e-7, 1e-7], [1e-7, 1e-7], 1e-7 / (eager.LEAST + 1e-7)),
        ([[1.0]], [1.0], math.inf),
        ([1, 2, 3, 4], [1, 2, 3, 5], 0.25),
        ([1, 2], [1.0, 2.0], math.inf),
        ([True, False], [True, True], 0.5),
    ],
)
def test_distances(given, right, apart):
    assert eager.distance(np.array(given), np.array(right)) == pytest.approx(apart)


def inputs(*lines):
    description = describe.description(list(lines))
    given = [Input(one, one.dtype, one.axes) for one in description.inputs]
    return given, eager_inputs.rules_of(description)


def test_lengths_follow_the_rules_of_axes_and_differ_from_each_other():
    lines = (
        "x: float32[batch, time, 3]",
        "k: float32[batch, past, 3]",
        "time: multiple of 4, 8..64",
    )
    given, rules = inputs(*lines, "mask: int64[batch, past + time], mask of past + time")
    found = list(eager_inputs.sizes(given, rules, LENGTHS))
    assert len(found) >= len(LENGTHS)
    for sizes in found:
        assert sizes["time"] in range(8, 65, 4)
        assert sizes["past_time"] == sizes["past"] + sizes["time"]
    assert sum(sizes["past"] == sizes["time"] for sizes in found) < 3


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        ("padding 0", ["full", "mixed", "short", "empty", "left", "gapped"]),
        ("padding 0, right", ["full", "mixed", "short", "empty"]),
        ("padding 0, right, never empty", ["full", "mixed", "short"]),
    ],
)
def test_rows_are_padded_as_the_description_lets_them_be(words, kinds):
    given, _ = inputs(
        f"tokens: int64[time, batch] in 0..9, {words}", "n: int64[batch], lengths of t"
    )
    given, rng = given[:1], np.random.default_rng(0)
    found = dict(eager_inputs.paddings(given, 4, {"time": 8}, rng))
    assert list(found) == kinds
    counts = {kind: valid["time"].sum(1).tolist() for kind, valid in found.items()}
    assert counts["full"] == [8, 8, 8, 8]
    assert counts["mixed"] == [4, 8, 1, 6]
    assert counts["short"] == [7, 1, 4, 7]
    assert "empty" not in counts or counts["empty"] == [4, 8, 0, 1]
    for valid in found.values():
        tokens = eager_inputs.values(given[0], {"batch": 4, "time": 8}, valid, rng)
        assert tokens.dtype == np.int64
        assert ((tokens.T != 0) == valid["time"]).all()
        assert 0 <= tokens.min() <= tokens.max() <= 9
    if "left" in found:
        assert found["left"]["time"][0].tolist() == [False] * 4 + [True] * 4


def test_masks_lengths_and_triangles_tell_of_the_same_steps():
    given, _ = inputs(
        "mask: float32[batch, time], additive mask of time",
        "n: int64[batch], lengths of time",
        "size: int64[1], lengths of time",
        "seen: bool[time, past], causal mask of time",
    )
    valid = {"time": np.array([[True, True, False], [True, False, False]])}
    sizes = {"batch": 2, "time": 3, "past": 5}
    rng = np.random.default_rng(0)
    mask, n, size, seen = (eager_inputs.values(one, sizes, valid, rng) for one in given)
    assert mask.tolist() == [[0, 0, -1e9], [0, -1e9, -1e9]]
    assert n.tolist() == [2, 1]
    assert size.tolist() == [3]
    assert seen.astype(int).tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def test_parts_of_arguments_are_joined_and_outputs_are_named():
    class Net(torch.nn.Module):
        def forward(self, x, state, more):
            h, c = state
            return {"a": x + h * more["scale"], "b": (c * 3).float() if more["n"] > 1 else c}

    model = float64.of("torch", Net(), Net)
    given = {"x": 1.0, "state.1": 2.0, "state.0": 3.0, "more.scale": 4.0, "more.n": 1.0}
    values = {name: np.full((2,), value, np.float32)[:1] for name, value in given.items()}
    (a, first), (b, second) = model.exact(values)
    assert (a, b, first.item(), second.item()) == ("a", "b", 13.0, 2.0)
    assert first.dtype == np.float64
    values["more.n"] += 1
    with pytest.raises(TypeError, match="float32 in float64"):
        model.exact(values)


def test_a_keras_model_is_made_again_in_float64_with_its_weights():
    keras = pytest.importorskip("keras")
    layers = keras.layers

    def windows():
        return keras.Sequential([keras.Input((None, 2)), layers.Masking(), layers.GRU(3)])

    def words():
        one, two = (keras.Input((None,), name=name, dtype="int32") for name in ("one", "two"))
        table = layers.Embedding(9, 4, mask_zero=True)
        added = layers.LSTM(3)(table(one)) + layers.GRU(3)(layers.Embedding(7, 4)(two))
        return keras.Model({"two": two, "one": one}, {"sum": added, "half": added / 2})

    frames = np.random.default_rng(0).uniform(-1, 1, (2, 5, 2)).astype(np.float32)
    frames[1, 3:] = 0
    tokens = {"one": np.array([[1, 8, 0]], np.int32), "two": np.array([[2, 0, 6]], np.int32)}
    for make, values, said in ((windows, {"x": frames}, (None, 0)), (words, tokens, (6, 0))):
        net = make()
        model = float64.of("keras", net, make)
        exact, narrow = model.exact(values), model.narrow(values)
        given = frames if make is windows else {name: tokens[name] for name in ("two", "one")}
        right = keras.tree.flatten(net(given))
        assert [name for name, _ in exact] == ([""] if make is windows else ["half", "sum"])
        for (_, wide), (_, one), other in zip(exact, narrow, right, strict=True):
            assert (wide.dtype, one.dtype) == (np.float64, np.float32)
            assert 0 < np.abs(wide - one).max() < 1e-6
            assert np.abs(one - np.asarray(other)).max() < 1e-6
        one = model.said("one", "float32" if make is windows else "int32")
        assert (one.high, one.padding) == said
        assert keras.config.floatx() == "float32"
