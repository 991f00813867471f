"""The oracle runtime against the models' NumPy oracles: two float64 evaluations of one model."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from harness.core.compare import compare, structure
from harness.exporting import cache
from harness.goldens import store
from harness.oracle.runtime import ORACLE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TWINS = (
    ("gru_tagger", "torch"),
    ("language_model", "torch"),
    ("encoder_decoder", "torch"),
)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The native model files by twin."""
    folder = tmp_path_factory.mktemp("oracle")
    jobs = [
        cache.ExportJob(
            *(name, framework, "native", "fp32", 18),
            str(ROOT / "golden" / name / framework),
            str(folder / name / framework),
        )
        for name, framework in TWINS
    ]
    stored = cache.ensure(jobs, lambda text: None)
    return {(j.model, j.framework): stored[j.name].model for j in jobs}


@pytest.mark.xdist_group("oracle_goldens")
@pytest.mark.parametrize(("name", "framework"), TWINS)
def test_every_golden_case_agrees_to_1e_12_of_its_scale(exported, name, framework):
    source = store.read(ROOT / "golden" / name / framework)
    session = ORACLE.prepare(str(exported[name, framework]))
    for case in source.cases:
        stored = source.load(case)
        actual = session.run(stored.inputs)
        assert structure(source.spec, stored, actual, ORACLE.row) == ""
        for output in compare(source.spec, stored, actual, ORACLE.row):
            assert output.reason == "", (case.id, output)


def test_weights_that_are_off_by_a_float32_ulp_are_noticed(exported, tmp_path):
    name, framework = TWINS[0]
    source = store.read(ROOT / "golden" / name / framework)
    model = onnx.load(exported[name, framework])
    recurrent = next(node for node in model.graph.node if node.op_type == "GRU")
    tensor = next(t for t in model.graph.initializer if t.name == recurrent.input[2])
    weights = np.nextafter(onnx.numpy_helper.to_array(tensor), np.float32(9), dtype=np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))
    onnx.save(model, tmp_path / "off.onnx")
    session = ORACLE.prepare(str(tmp_path / "off.onnx"))
    stored = source.load(source.cases[-1])
    outputs = compare(source.spec, stored, session.run(stored.inputs), ORACLE.row)
    assert any(output.ratio > 10 for output in outputs)


def test_an_lstm_takes_a_fixed_and_small_number_of_calls_for_each_step(tmp_path):
    draw = np.random.default_rng(0)
    tensors = {"w": (1, 256, 32), "r": (1, 256, 64), "b": (1, 512)}
    node = onnx.helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=64)
    values = [
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, None, 32]),
        onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None),
    ]
    weights = [
        onnx.numpy_helper.from_array(draw.normal(size=shape).astype(np.float32) / 8, name)
        for name, shape in tensors.items()
    ]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], weights)
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset), tmp_path / "m.onnx")
    session = ORACLE.prepare(str(tmp_path / "m.onnx"))

    def calls(steps):
        counted = 0

        def count(frame, event, argument):
            nonlocal counted
            counted += event in ("call", "c_call")

        x = draw.normal(size=(steps, 2, 32)).astype(np.float32)
        sys.setprofile(count)
        try:
            session.run({"x": x})
        finally:
            sys.setprofile(None)
        return counted

    calls(1)
    first, second, third = calls(256), calls(512), calls(1024)
    assert third - second == 2 * (second - first)
    assert (second - first) / 256 < 100
