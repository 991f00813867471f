"""A factor that may have been written down, decided by what the model computes in float64."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from harness.accounting import form
from harness.core.schema import Case
from harness.goldens import store
from harness.validation import factors
from tests.support import doubler

ROOT = 2**-0.5
WRITTEN = 0.7071068
UP = np.nextafter(np.float32(0.5), np.float32(1))
ACCOUNT = form.Account(1, (form.Parameter("w", "copied", (2, 2), "float32", ""),))


@pytest.fixture
def golden(tmp_path):
    """Record the model that multiplies by a factor; returns its golden."""

    def made(factor):
        about = {"model": "doubler", "framework": "torch", "seed": 0, "training": {}}
        cases = []
        for case in doubler.recorded():
            y = factor * case.inputs["x"].astype(np.float64)
            outputs = {"y": y, "total": y.sum(axis=1)}
            cases.append(
                store.RecordedCase(case.case, case.formulas, case.inputs, outputs, None, case.noise)
            )
        folder = tmp_path / "golden"
        store.write(folder, doubler.SPEC, {"two": np.float32([2])}, cases, about)
        return store.read(folder)

    return made


@pytest.mark.parametrize("held", ["initializer", "Constant"])
@pytest.mark.parametrize(
    ("model", "graph", "wrong"),
    [
        (ROOT, np.float32(ROOT), False),
        (ROOT, np.nextafter(np.float32(ROOT), np.float32(1)), True),
        (WRITTEN, np.float32(WRITTEN), False),
        (np.float64(np.float32(WRITTEN)), np.float32(WRITTEN), False),
        (ROOT, np.float32(0.75), False),
        (0.5, np.float32(0.5), False),
        (np.float64(UP), UP, False),
    ],
)
def test_an_exact_root_and_one_that_is_written_down_are_told_apart(
    golden, tmp_path, model, graph, wrong, held
):
    made = doubler.graph(constants={"two": graph})
    if held == "Constant":
        kept = [tensor for tensor in made.graph.initializer if tensor.name != "two"]
        del made.graph.initializer[:]
        made.graph.initializer.extend(kept)
        value = numpy_helper.from_array(np.asarray(graph))
        made.graph.node.insert(0, helper.make_node("Constant", [], ["two"], value=value))
    path = tmp_path / "model.onnx"
    onnx.save(made, path)
    text = factors.off(path, golden(model), ACCOUNT)
    assert bool(text) is wrong
    if wrong:
        assert text == "weights: constant 'two' is 0.707106829, an ULP beside 1/√2 = 0.707106769"


def test_a_half_that_is_an_ulp_off_is_told(golden, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(doubler.graph(constants={"two": UP}), path)
    account = form.Account(1, (form.Parameter("w", "copied", (8, 4), "float32", ""),))
    assert "'two' is 0.50000006, an ULP beside 1/√4 = 0.5" in factors.off(
        path, golden(0.5), account
    )


def test_a_graph_that_does_not_run_tells_nothing(golden, tmp_path):
    made = doubler.graph(constants={"two": np.nextafter(np.float32(ROOT), np.float32(1))})
    made.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(made, tmp_path / "model.onnx")
    assert factors.off(tmp_path / "model.onnx", golden(ROOT), ACCOUNT) == ""


def test_a_case_that_is_short_along_one_axis_tells_last():
    short, small, large = (
        Case({"text": text, "question": question}, 1)
        for text, question in ((1, 3), (3, 3), (20, 20))
    )
    assert sorted([large, short, small], key=factors.telling) == [small, large, short]
    assert factors.telling(Case({}, 2))[0] is False
