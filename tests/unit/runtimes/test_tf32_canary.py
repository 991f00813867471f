"""TF32: its rows in the tolerance table, and the canary that tells whether its switch works."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness import runtimes
from harness.commands.run import ended
from harness.core.errors import UsageError
from harness.core.schema import Case, ModelSpec, TensorSpec
from harness.goldens import store
from harness.goldens.formulas import evaluate
from harness.placing import tables
from harness.runtimes import row, tf32_canary
from harness.runtimes.ort import CPU, CUDA
from harness.validate import main
from tests.support import tf32

FEATURES = 16
SPEC = ModelSpec(
    name="projector",
    summary="y = x w",
    inputs=(TensorSpec("x", "float32", ("batch", "sequence", FEATURES)),),
    outputs=(TensorSpec("y", "float32", ("batch", "sequence", FEATURES)),),
    weights="projector",
)
W = np.random.default_rng(0).normal(size=(FEATURES, FEATURES)).astype(np.float32)


def record(folder):
    """The golden of x w, with the noise of one float32 product."""
    cases = []
    for number, case in enumerate(Case({"sequence": n}, 2) for n in (1, 5, 20, 64)):
        formulas = {"x": {"seed": number, "low": -1.0, "high": 1.0}}
        shape = SPEC.inputs[0].shape(case.batch, case.lengths)
        inputs = {"x": evaluate(formulas["x"], shape, "float32")}
        y = inputs["x"].astype(np.float64) @ W.astype(np.float64)
        noise = {"y": float(np.abs(inputs["x"] @ W - y).max())}
        cases.append(store.RecordedCase(case, formulas, inputs, {"y": y}, None, noise))
    about = {"model": SPEC.name, "framework": "torch", "seed": 0, "training": {}}
    store.write(folder, SPEC, {"w": W}, cases, about)


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """``validate`` of the projector with a simulated ort-cuda: its exit code and its result."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    record(tmp_path / "golden")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "sequence", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", FEATURES])],
        [numpy_helper.from_array(W, "w")],
    )
    imports = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)

    def run(*flags, target="RUNTIME"):
        monkeypatch.setitem(runtimes.RUNTIMES, "ort-cuda", f"tests.support.tf32:{target}")
        where = ["m.onnx", "--golden", "golden", "--report-dir", "report", "--json"]
        code = ended(main, [*where, *flags])
        out, err = capsys.readouterr()
        assert out, err
        return code, json.loads(out)["results"][0]

    return run


ON = ("--provider-option", "use_tf32=1")


def worst(result):
    return max(o["ratio"] for case in result["cases"] for o in case["outputs"])


def test_the_simulation_keeps_ten_bits_and_rounds_ties_to_even():
    one = np.float32(1)
    ulp, tie = np.float32(2**-10), np.float32(2**-11)
    x = np.array([one + ulp, one + tie, one + ulp + tie, -one - tie * 3 / 2, 0, 3e38], np.float32)
    expected = [one + ulp, one, one + 2 * ulp, -one - ulp, 0]
    np.testing.assert_array_equal(tf32.rounded(x)[:5], np.array(expected, np.float32))
    assert tf32.rounded(np.array([7])).dtype == np.int64


def test_the_row_is_tf32s_where_there_is_one():
    names = {(n, on): row(n, on).name for n in ("ort-cuda", "ort-tensorrt") for on in (0, 1)}
    assert list(names.values()) == ["ort-cuda", "ort-cuda+tf32", "ort-tensorrt", "ort-tensorrt"]
    assert (row("phone", True).name, row("phone", True).k) == ("phone", 4.0)
    assert row("ort-cuda", True).k == row("ort-tensorrt").k == 4 * 2.0**13
    evidence = row("ort-cuda", True).evidence()
    assert (evidence["row"], evidence["k"]) == ("ort-cuda+tf32", 2.0**15)
    assert "not measured" in evidence["reason"]
    assert row("oracle").evidence()["of_scale"] == 1e-12


def test_only_cuda_has_tf32_and_only_if_it_is_asked_for():
    switched_on = {
        value: CUDA.configured(provider={"use_tf32": value}).tf32 for value in ("0", "1")
    }
    assert switched_on == {"0": False, "1": True}
    assert (CUDA.tf32, CPU.tf32) == (False, False)


def test_tf32_conforms_by_its_own_row_and_not_by_float32s(call):
    code, off = call("--runtime", "ort-cuda")
    assert (code, off["evidence"]["tolerance"]["row"]) == (0, "ort-cuda")
    assert worst(off) <= 1 / 4
    code, on = call("--runtime", "ort-cuda", *ON)
    assert (code, on["evidence"]["tolerance"]["row"]) == (0, "ort-cuda+tf32")
    assert on["evidence"]["tolerance"]["k"] == 2.0**15
    assert 1 / 100 < worst(on) < 1
    code, stuck = call("--runtime", "ort-cuda", target="STUCK_ON")
    assert (code, stuck["status"], stuck["stage"]) == (1, "fail", "compare")
    assert worst(stuck) == pytest.approx(worst(on) * 2**15 / 8)


def test_a_child_and_a_relation_judge_by_the_same_row(call):
    code, result = call("--runtime", "ort-cuda", *ON, "--isolate", "--relation", "batch-rows")
    assert (code, result["evidence"]["tolerance"]["row"]) == (0, "ort-cuda+tf32")
    assert any(case["relation"] for case in result["cases"])
    floors = {o["tolerance"] / o["noise_floor"] for c in result["cases"] for o in c["outputs"]}
    assert min(floors) >= 2.0**15


def test_loaded_outputs_are_judged_by_what_their_evidence_says(call):
    _, saved = call("--runtime", "ort-cuda", *ON, "--save-outputs", "out")
    code, judged = call("--load-outputs", "out")
    assert (code, worst(judged)) == (0, worst(saved))
    assert judged["evidence"]["tolerance"]["row"] == "ort-cuda+tf32"
    assert judged["evidence"]["loaded_from"]["settings"] == "--provider-option use_tf32=1"


@pytest.fixture(params=[probe.name for probe in tf32_canary.probes()])
def name(request):
    return request.param


def switched(runtime):
    return tf32_canary.run(runtime, runtime.configured({"use_tf32": "1"}))


def test_a_working_switch_is_seen(name):
    assert switched(tf32.RUNTIME)[name]["verdict"] == ""
    assert switched(tf32.RUNTIME)[name]["off"] == 0.0


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("stuck on", "with TF32 off the error is "),
        ("stuck off", "the switch had no effect: with TF32 on the error is 0"),
        ("refuses", "load: no kernel for it"),
    ],
)
def test_a_switch_that_does_not_work_is_told(name, broken, message):
    probe = switched(tf32.Runtime(broken=broken))[name]
    assert probe["verdict"].startswith(message)
    assert "\n" not in probe["verdict"]


def test_float32_on_the_cpu_is_exact_and_has_no_switch(name):
    probe = tf32_canary.run(CPU, CPU)[name]
    assert probe["verdict"].startswith("the switch had no effect")


class Gives:
    """A runtime that gives what a function makes of the right output."""

    def __init__(self, change):
        self.change = change

    def prepare(self, path):
        session = CPU.prepare(path)
        run = session.run
        session.run = lambda inputs: [(n, self.change(v)) for n, v in run(inputs)]
        return session


@pytest.mark.parametrize(
    "change", [lambda y: y * np.float32(np.nan), lambda y: y[:1, :1], lambda y: y * np.inf]
)
def test_what_is_no_answer_is_no_effect_of_the_switch(name, change):
    for runtimes_ in ((Gives(change), tf32.Runtime(broken="stuck on")), (CPU, Gives(change))):
        probe = tf32_canary.run(*runtimes_)[name]
        assert probe["verdict"]
        json.dumps(probe, allow_nan=False)


@pytest.mark.parametrize("keep", [tf32.rounded, lambda x: x.view(np.int32) >> 13 << 13])
def test_the_product_vanishes_whether_tf32_rounds_or_cuts(keep):
    x, w = tf32_canary._pairs()
    kept = [np.asarray(keep(each)).view(np.float32) for each in (x, w)]
    assert not (kept[0] @ kept[1]).any()
    exact = x.astype(np.float64) @ w.astype(np.float64)
    for order in (x, x[:, ::-1]):
        rows = w if order is x else w[::-1]
        np.testing.assert_array_equal(order @ rows, exact)
    assert exact.min() >= 32


def test_every_onnx_runtime_has_the_canary_on_cuda(name):
    (probe,) = (probe for probe in tf32_canary.probes() if probe.name == name)
    onnx.checker.check_model(probe.model, full_check=True)
    for table in tables.stored():
        for node in probe.model.graph.node:
            if node.op_type == "MatMul":
                assert table.kernel("MatMul", tf32_canary.OPSET)["float32"], table
            else:
                assert table.predicted(node, tf32_canary.OPSET), table


def test_a_row_of_tf32_is_no_runtime(call, capsys):
    with pytest.raises(AssertionError, match="unknown runtime"):
        call("--runtime", "ort-cuda+tf32")
    with pytest.raises(UsageError, match="has no options"):
        CPU.configured(provider={"use_tf32": "1"})
