"""harness.oracle.rounding: float64 outputs and the noise of an ONNX file."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx import helper as oh
from onnx import numpy_helper as nh

from harness.core.errors import CheckError, LoadError, RunError
from harness.goldens.noise_floor import jittered
from harness.oracle.rounding import jittered_model, measure, noises
from harness.oracle.runtime import DECLARED, ORACLE
from tests.support.small_graphs import FEATURES, lstm, mixed, save

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 3, FEATURES)).astype(np.float32)


def feeds(rows=3):
    return {"x": X[:, :rows], "lens": np.array([6, 2, 4], np.int32)[:rows]}


def with_noise(path, sets, **options):
    """The outputs of the first set of inputs, and their noise."""
    runs = measure(path, sets, **options)
    return runs[0][0], noises(runs)[0]


def float_graph(folder, text, **weights):
    head = '<ir_version: 9, opset_import: ["" : 18]>\n'
    proto = onnx.parser.parse_model(head + text)
    proto.graph.initializer.extend(nh.from_array(value, name) for name, value in weights.items())
    onnx.save(proto, folder / "m.onnx")
    return folder / "m.onnx"


def test_the_outputs_are_the_oracles_and_the_noise_is_a_few_float32_ulps(tmp_path):
    path = lstm(tmp_path / "m.onnx", lengths=True)
    sets = [feeds(3), feeds(1)]
    measured = measure(path, sets)
    assert len(measured) == 2
    pairs = zip([outputs for outputs, _ in measured], noises(measured), strict=True)
    for inputs, (outputs, noise) in zip(sets, pairs, strict=True):
        exact = dict(ORACLE.prepare(path).run(inputs))
        assert list(outputs) == ["y", "h"]
        assert all((outputs[name] == exact[name]).all() for name in exact)
        assert all(value.dtype == np.float64 for value in outputs.values())
        assert all(2e-9 < noise[name] < 2e-6 for name in outputs)


def test_noise_is_the_error_of_the_graphs_own_types_and_honours_sequence_lens(tmp_path):
    path = lstm(tmp_path / "m.onnx", lengths=True)
    outputs, noise = with_noise(path, [feeds()], draws=1)
    single = dict(DECLARED.prepare(path).run(feeds()))
    assert single["y"].dtype == np.float32
    assert (single["y"][2:, 0, 1] == 0).all()
    for name, value in outputs.items():
        assert noise[name] == np.abs(single[name].astype(np.float64) - value).max() > 0


def test_more_draws_find_no_less_noise_and_the_outputs_stay(tmp_path):
    path = lstm(tmp_path / "m.onnx")
    few, many = (with_noise(path, [{"x": X}], draws=n) for n in (1, 8))
    assert (few[0]["y"] == many[0]["y"]).all()
    assert many[1]["y"] > few[1]["y"]


def test_an_output_that_is_no_float_has_no_noise(tmp_path):
    path = mixed(tmp_path / "m.onnx")
    n = np.arange(6).reshape(2, 3)
    outputs, noise = with_noise(path, [{"n": n, "x": X[0, :2]}])
    assert (outputs["doubled"] == 2 * n).all()
    assert outputs["doubled"].dtype == np.int64
    assert noise == {"doubled": 0.0, "sum": 0.0, "a": 0.0}


def test_weights_are_moved_in_nested_graphs_and_constants_too_but_not_sizes(tmp_path):
    inner = oh.make_graph(
        [oh.make_node("Add", ["x", "inside"], ["a"])],
        "then",
        [],
        [oh.make_tensor_value_info("a", TensorProto.FLOAT, None)],
        [nh.from_array(np.float32([1.5, 2.5]), "inside")],
    )
    other = oh.make_graph(
        [
            oh.make_node("Constant", [], ["c"], value=nh.from_array(np.float32([3.5, 4.5]))),
            oh.make_node("Add", ["x", "c"], ["b"]),
        ],
        "else",
        [],
        [oh.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    nodes = [
        oh.make_node("If", ["which"], ["chosen"], then_branch=inner, else_branch=other),
        oh.make_node("Mul", ["chosen", "half"], ["halved"]),
        oh.make_node("Resize", ["halved", "", "scales"], ["y"]),
    ]
    path = save(
        tmp_path / "m.onnx",
        nodes,
        [("x", TensorProto.FLOAT, [2]), ("which", TensorProto.BOOL, [])],
        [("y", TensorProto.FLOAT, [None])],
        [("scales", np.float32([2])), ("half", np.float32(0.5))],
    )
    model = onnx.load(path)
    model.graph.initializer.append(nh.from_array(np.float32([5.5, 6.5]), "unused"))
    model.graph.initializer.append(nh.from_array(np.array([7, 8]), "whole"))
    before = model.SerializeToString()
    near = jittered_model(model, 1)
    assert model.SerializeToString() == before
    kept = {t.name: nh.to_array(t) for t in near.graph.initializer}
    assert (kept["scales"], kept["half"]) == (2, 0.5)
    assert (kept["whole"] == [7, 8]).all()
    branches = {a.name: a.g for a in near.graph.node[0].attribute}
    moved = {
        "unused": (kept["unused"], [5.5, 6.5]),
        "inside": (nh.to_array(branches["then_branch"].initializer[0]), [1.5, 2.5]),
        "constant": (nh.to_array(branches["else_branch"].node[0].attribute[0].t), [3.5, 4.5]),
    }
    for name, (value, original) in moved.items():
        relative = np.abs(value / np.float64(original) - 1)
        assert value.dtype == np.float32, name
        assert (relative <= np.finfo(np.float32).eps).all(), name
    assert any((np.asarray(value) != original).any() for value, original in moved.values())
    assert jittered_model(model, 0) is model
    again, another = jittered_model(model, 1), jittered_model(model, 2)
    assert again.SerializeToString() == near.SerializeToString() != another.SerializeToString()


def test_a_vector_of_scales_that_sizes_a_result_is_not_moved(tmp_path):
    text = "g (float[n, 2] x) => (float[m, k] y) { y = Resize(x, , scales) }"
    weights = RNG.normal(size=50).astype(np.float32)
    path = float_graph(tmp_path, text, scales=np.float32([3, 2]), weights=weights)
    near = {t.name: nh.to_array(t) for t in jittered_model(onnx.load(path), 1).graph.initializer}
    assert (near["scales"] == [3, 2]).all()
    assert (near["weights"] != weights).any()


def test_weights_are_moved_as_when_a_golden_is_recorded():
    value = RNG.normal(size=(5, 7)).astype(np.float32)
    tensor = nh.from_array(value, "w")
    model = oh.make_model(oh.make_graph([], "g", [], [], [tensor]))
    (near,) = jittered_model(model, 4).graph.initializer
    assert (nh.to_array(near) == jittered({"0": value}, 4)["0"]).all()


def test_what_cannot_be_measured_is_told_in_one_line(tmp_path):
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("not a model\n" * 9)
    with pytest.raises(LoadError, match="expected an ONNX model"):
        measure(tmp_path / "empty.onnx", [{}])
    with pytest.raises(CheckError, match="is not a readable ONNX model"):
        measure(tmp_path / "text.onnx", [{}])
    with pytest.raises(RunError, match="the model takes: x"):
        measure(lstm(tmp_path / "m.onnx"), [{"z": X}])
    sequence = "g (float[n] x) => (seq(float[n]) y) { y = SequenceConstruct(x, x) }"
    with pytest.raises(RunError, match="output y is a list; only tensors are measured"):
        measure(float_graph(tmp_path, sequence), [{"x": X[0, 0]}])


def test_float32_that_overflows_is_no_noise(tmp_path):
    text = "g (float[n] x) => (float[n] y) { y = Exp(x) }"
    with pytest.raises(RunError, match="rounding alone makes values of output y infinite"):
        with_noise(float_graph(tmp_path, text), [{"x": np.float32([1, 100])}])


def test_infinities_and_nan_that_both_have_are_no_noise(tmp_path):
    text = "g (float[n] x) => (float[n] y) { y = Log(x) }"
    path = float_graph(tmp_path, text)
    outputs, noise = with_noise(path, [{"x": np.float32([0, -1, 3])}])
    assert outputs["y"][0] == -np.inf
    assert np.isnan(outputs["y"][1])
    assert 0 < noise["y"] < 2e-7
