"""harness.validation.known_errors: a runtime's own operators told from the export."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from harness.core.results import Status
from harness.core.schema import Case, ModelSpec, TensorSpec
from harness.core.tolerance import Row
from harness.goldens import store
from harness.goldens.formulas import evaluate
from harness.oracle.runtime import ORACLE
from tests.support.jobs import judged, ready

SPEC = ModelSpec(
    "rare", "", (TensorSpec("x", "float32", ("batch", "time", 3)),),
    (TensorSpec("y", "float32", ("batch", "time", 3)),), "rare",
)  # fmt: skip
GRAPH = """<ir_version: 9, opset_import: ["" : 18]>
g (float[batch, time, 3] x) => (float[batch, time, 3] y)
<float bias = {{-20.0}}, float large = {{{large}}}>
{{ logits = Add(x, bias) p = Sigmoid(logits) y = Mul(p, large) }}"""
ITSELF = """<ir_version: 9, opset_import: ["" : 18]>
g (float[batch, time, 3] x) => (float[batch, time, 3] y)
<float bias = {{{bias}}}, float large = {{1.0}}>
{{ logits = Add(x, bias) y = Sigmoid(logits) }}"""
MEAN = """<ir_version: 9, opset_import: ["" : 18]>
g (float[batch, time, 3] x) => (float[batch, time, 3] y)
<int64[1] axes = {1}, float large = {1.0}>
{ mean = ReduceMean(x, axes) y = Sub(x, mean) }"""
WITH_ERRORS = Row(4.0, "a test's", operators={"Sigmoid": 1.3e-7})


class Careless:
    """Evaluates exactly, but for a sigmoid that is off by ``error``."""

    def __init__(self, error, row=WITH_ERRORS):
        self.error, self.row = error, row

    def check(self):
        return None

    def version(self):
        return "1"

    def prepare(self, path):
        self.session, self.large = ORACLE.prepare(path), onnx.load(path).graph.initializer[1]
        return self

    def run(self, inputs):
        ((name, value),) = self.session.run(inputs)
        off = self.error * onnx.numpy_helper.to_array(self.large)
        return [(name, (value + off).astype(np.float32))]

    def evidence(self):
        return {"version": "1"}


@pytest.fixture(name="made")
def _made(tmp_path):
    return _recorded(tmp_path, GRAPH.format(large=1000.0), 1e-12)


def _recorded(tmp_path, graph, noise):
    """Return the file of a graph, and a golden of it with this noise floor."""
    model = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(graph), model)
    session, recorded = ORACLE.prepare(model), []
    for length in (2, 9, 30):
        formula = {"seed": length, "low": -1.0, "high": 1.0}
        x = evaluate(formula, (2, length, 3), "float32")
        y = dict(session.run({"x": x}))["y"]
        recorded.append(
            store.RecordedCase(
                Case({"time": length}, 2),
                {"x": formula},
                {"x": x},
                {"y": y},
                None,
                {"y": noise},
                {"y": {-8: (y.size, noise)}},
            )
        )
    about = {"model": "rare", "framework": "torch", "seed": 0, "float32_runs": 1}
    store.write(tmp_path / "golden", SPEC, {}, recorded, about)
    return model, store.read(tmp_path / "golden")


def test_a_known_error_of_an_operator_explains_what_it_does_further_on(made):
    model, golden = made
    result = judged(ready(golden, model, Careless(1e-7)))
    assert result.status is Status.PASS
    known = result.evidence["runtime_error"]
    assert known["operators"] == {"Sigmoid": 1.3e-7}
    assert known["cases"] == 4
    assert known["ratio_without"] > 100
    assert all(output.ratio <= 1 for case in result.cases for output in case.outputs)


@pytest.mark.parametrize(
    "runtime", [Careless(1e-5), Careless(1e-7, replace(WITH_ERRORS, operators={}))]
)
def test_a_larger_error_and_one_that_is_not_known_fail(made, runtime):
    model, golden = made
    result = judged(ready(golden, model, runtime))
    assert result.status is Status.FAIL
    assert "runtime_error" not in result.evidence


def test_a_graph_that_is_wrong_itself_is_not_excused(made, tmp_path):
    _, golden = made
    wrong = tmp_path / "wrong.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH.format(large=1000.01)), wrong)
    assert judged(ready(golden, wrong, Careless(0.0))).status is Status.FAIL
    assert judged(ready(golden, wrong, Careless(1e-7))).status is Status.FAIL


def test_an_output_of_the_operator_itself_is_excused_where_the_graph_is_right(tmp_path):
    model, golden = _recorded(tmp_path, ITSELF.format(bias=-20.0), 1e-15)
    wrong = tmp_path / "wrong.onnx"
    onnx.save(onnx.parser.parse_model(ITSELF.format(bias=-19.99)), wrong)
    assert judged(ready(golden, wrong, Careless(0.0))).status is Status.FAIL
    assert judged(ready(golden, wrong, Careless(1e-7))).status is Status.FAIL
    result = judged(ready(golden, model, Careless(1e-7)))
    assert result.status is Status.PASS
    assert result.evidence["runtime_error"]["cases"] == 4


def test_a_mean_is_as_careless_as_the_number_of_its_terms_allows(tmp_path):
    model, golden = _recorded(tmp_path, MEAN, 1e-12)
    row = Row(4.0, "a test's")
    result = judged(ready(golden, model, Careless(2e-8, row)))
    assert result.status is Status.PASS
    assert list(result.evidence["runtime_error"]["operators"]) == ["ReduceMean"]
    assert judged(ready(golden, model, Careless(1e-5, row))).status is Status.FAIL
