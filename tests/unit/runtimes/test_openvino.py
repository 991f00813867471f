"""harness.runtimes.openvino on small graphs."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.core import install
from harness.core.errors import RunError
from harness.runtimes import openvino
from harness.runtimes.openvino import DEFAULT_PRECISION, FULL_PRECISION
from harness.runtimes.ort import CPU
from tests.support import runtime_checks, small_graphs

needs_openvino = pytest.mark.skipif(not FULL_PRECISION.version(), reason="openvino not installed")


@needs_openvino
@pytest.mark.parametrize("check", runtime_checks.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("runtime", [FULL_PRECISION, DEFAULT_PRECISION], ids=["full", "default"])
def test_it(check, runtime, tmp_path):
    check(runtime, tmp_path)


@needs_openvino
def test_full_precision_is_asked_for_and_proven_by_the_evidence(tmp_path):
    assert FULL_PRECISION.check() is None
    evidence = runtime_checks.has_the_evidence_of_a_report(FULL_PRECISION, tmp_path)
    assert evidence["providers"] == ["CPU"]
    assert evidence["inference_precision"] == "f32"
    assert evidence["execution_mode"] == "accuracy"
    assert not {"f16", "bf16"} & set(evidence["precisions"])
    assert sum(evidence["nodes_by_provider"]["CPU"].values()) == sum(
        evidence["precisions"].values()
    )
    default = runtime_checks.has_the_evidence_of_a_report(DEFAULT_PRECISION, tmp_path)
    assert default["execution_mode"] == "performance"


@needs_openvino
def test_a_lower_precision_shows_in_the_evidence(tmp_path):
    import openvino as library

    able = "BF16" in library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    low = openvino.OpenVinoRuntime({"INFERENCE_PRECISION_HINT": "bf16"}, DEFAULT_PRECISION.row)
    evidence = low.prepare(small_graphs.lstm(tmp_path / "m.onnx")).evidence()
    assert evidence["inference_precision"] == ("bf16" if able else "f32")
    assert ("bf16" in evidence["precisions"]) == able


@needs_openvino
def test_sequence_lens_are_ignored_where_shapes_are_dynamic(tmp_path):
    """As long as this holds, the expectations of language_model and encoder_decoder do."""
    path = small_graphs.lstm(tmp_path / "m.onnx", lengths=True)
    x = np.random.default_rng(0).normal(size=(6, 2, small_graphs.FEATURES)).astype(np.float32)
    outputs = {}
    for lens in ([6, 6], [6, 3]):
        inputs = {"x": x, "lens": np.array(lens, np.int32)}
        truth = dict(CPU.prepare(path).run(inputs))["h"]
        outputs[tuple(lens)] = dict(FULL_PRECISION.prepare(path).run(inputs))["h"], truth
    assert np.abs(outputs[6, 6][0] - outputs[6, 6][1]).max() < 1e-6
    assert np.abs(outputs[6, 3][0] - outputs[6, 3][1]).max() > 1e-2


@needs_openvino
def test_int64_is_computed_in_32_bits_without_a_word(tmp_path):
    assert runtime_checks.int64_beyond_32_bits(FULL_PRECISION, tmp_path) == 0


def test_what_installs_it_is_told(monkeypatch):
    monkeypatch.setattr(openvino, "version_of", lambda name: "")
    assert FULL_PRECISION.check() == f"openvino is not installed: {install.line('openvino')}"
    assert FULL_PRECISION.version() == ""


def test_messages_lose_the_places_in_the_source():
    text = "Exception from src/a.cpp:92:\nException from src/b.cpp:54:\nwhat  \n\nand why\n"
    assert openvino.shortened(RuntimeError(text)) == "what and why"
    assert openvino.shortened(RuntimeError("")) == "RuntimeError"
    assert len(openvino.shortened(RuntimeError("x" * 999))) == 300


@needs_openvino
def test_inputs_that_nothing_needs_or_that_have_two_names_are_taken(tmp_path):
    x, spare, y, z = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])
        for name in ("x", "s", "y", "z")
    )
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    graph = helper.make_graph(nodes, "names", [x, spare], [y, z])
    path = tmp_path / "names.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    session = FULL_PRECISION.prepare(str(path))
    value = np.array([1.0, 2.0, 3.0], np.float32)
    outputs = dict(session.run({"x": value, "s": value * 9}))
    assert outputs["y"].tolist() == [1, 2, 3]
    assert outputs["z"].tolist() == [-1, -2, -3]
    with pytest.raises(RunError, match="the model takes: s, x"):
        session.run({"x": value})
