"""Nets of all kinds: what the default exporter writes, run beside the net itself in float64."""

import onnx
import pytest

import harness
from ci.architectures import eager, float64, run
from ci.architectures.table import architectures

pytest.importorskip("torch")
SIZES = "1,3,8"
KINDS = {
    "torch_loops.py:TaughtDecoder": 36,
    "torch_loops.py:MinimalGate": 36,
    "torch_attention.py:CausalEncoder": 36,
    "torch_attention.py:CachedStep": 500,
    "torch_attention.py:CrossPadded": 100,
    "torch_convolutions.py:SpeechReader": 200,
    "torch_convolutions.py:Unet": 36,
    "torch_recurrent.py:Sorted": 200,
    "torch_recurrent.py:TimeMajor": 150,
    "torch_recurrent.py:TupleState": 100,
    "/keras_nets.py:masked": 150,
    "/keras_nets.py:translator": 150,
    "/keras_nets.py:window": 4,
}
"""Nets that are written in ways of their own, and how many comparisons there are at least."""
FIXED = "/keras_nets.py:window"


def net(name):
    if "keras" in name:
        pytest.importorskip("tensorflow")
    (one,) = (one for one in architectures() if one.place.endswith(name))
    return one


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_written_graph_gives_what_the_net_itself_gives(name):
    found = run.outcome(net(name), run.DEFAULT, SIZES, beside=True)
    assert (found.word, found.reason) == ("pass", "")
    assert found.eager["wrong"] == 0
    assert found.eager["lengths"] == (1 if name == FIXED else 9)
    assert found.eager["comparisons"] >= KINDS[name]
    assert 0 < found.eager["worst"] < 1e-5


PLANTS = {
    "direction": ("x", "planted = Slice(x, last, before, one, last)"),
    "length": ("x", "planted = Slice(x, zero, eight, one)"),
    "lengths": (
        "lengths",
        "steps = Shape<start: int = 1, end: int = 2>(x)\n none = Mul(lengths, zero)"
        "\n planted = Add(none, steps)",
    ),
}
"""Defects: an input that a graph sees otherwise than it is given, and how."""
NUMBERS = {"zero": 0, "one": 1, "eight": 8, "last": -1, "before": -(2**31)}
LINES = "plant (float[batch, time, 6] x, int64[batch] lengths) => (float[batch, time, 6] planted)"


@pytest.mark.slow
def test_a_wrong_graph_is_told_from_the_written_one(tmp_path):
    one, path = net(":Packed"), tmp_path / "bundle" / "model.onnx"
    made = one.make()
    model = float64.of(one.framework, made, one.make)
    harness.export(made, path.parent, inputs=one.description, lengths=[1, 3, 8])
    assert not eager.agreement(path, model, one.description).wrong
    for kind, (name, lines) in PLANTS.items():
        planted = onnx.load(path)
        for node in planted.graph.node:
            node.input[:] = ["planted" if value == name else value for value in node.input]
        for at, node in enumerate(onnx.parser.parse_graph(f"{LINES} {{ {lines} }}").node):
            planted.graph.node.insert(at, node)
        numbers = [onnx.helper.make_tensor(n, 7, [1], [value]) for n, value in NUMBERS.items()]
        planted.graph.initializer.extend(numbers)
        onnx.save(planted, tmp_path / f"{kind}.onnx")
        found = eager.agreement(tmp_path / f"{kind}.onnx", model, one.description)
        assert len(found.wrong) > 50, kind
        assert not found.drowned


@pytest.mark.slow
def test_an_outcome_departs_where_its_graph_does(monkeypatch, tmp_path):
    one = net(":LinearRecurrence")
    other = float64.of(one.framework, net(":MinimalGate").make(), net(":MinimalGate").make)
    monkeypatch.setattr(float64, "of", lambda *_: other)
    monkeypatch.setattr(run, "architectures", lambda: [one])
    path = tmp_path / "found.jsonl"
    words = ["-k", "LinearRecurrence", "--exporter", "default", "--lengths", "1,4", "--eager"]
    assert run.main([*words, "--json", str(path)]) == 1
    assert "apart from the model in float64: time=1 batch=1" in path.read_text()
