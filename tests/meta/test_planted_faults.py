"""The harness must notice: each test plants one fault in a model that conforms."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.validate import main as validate
from tests.support import doubler
from tests.support.doubler import FEATURES, OUTPUTS, clean_nodes, graph


@pytest.fixture
def judged(tmp_path, capsys):
    """Validate a graph against the golden; returns (exit code, the cell's result)."""

    def run(model, *flags):
        folder = doubler.record(tmp_path / "golden")
        onnx.save(model, tmp_path / "model.onnx")
        code = validate(
            [
                str(tmp_path / "model.onnx"),
                *("--golden", str(folder)),
                *("--report-dir", str(tmp_path / "report")),
                *("--runtime", "ort-cpu", "--json", *flags),
            ]
        )
        report = json.loads(capsys.readouterr().out)
        assert report == json.loads((tmp_path / "report/report.json").read_text())
        return code, report["results"][0]

    return run


def after(*nodes):
    """The clean nodes writing to ``y_`` instead of ``y``, then ``nodes`` that make ``y``."""
    return [*clean_nodes(y="y_"), *nodes]


def failing(judgement, stage, word):
    code, result = judgement
    assert code == 1
    assert (result["status"], result["stage"]) == ("fail", stage), result["reason"]
    assert word in result["reason"]
    return result


def test_the_clean_model_conforms(judged):
    code, result = judged(graph())
    assert code == 0
    assert result["status"] == "pass"
    assert len(result["cases"]) == len(doubler.CASES) + 1
    assert max(o["ratio"] for c in result["cases"] for o in c["outputs"]) <= 1


@pytest.mark.parametrize(("factor", "status"), [(0.98, "pass"), (1.02, "fail")])
def test_an_error_just_over_the_tolerance_fails_and_just_under_passes(judged, factor, status):
    tolerance = judged(graph())[1]["cases"][0]["outputs"][0]["tolerance"]
    # y is in [1, 2): whole float32 ulps are added, so that the sum is exact
    ulp = float(np.spacing(np.float32(1)))
    shift = np.float32(np.ceil(factor * tolerance / ulp) * ulp if factor > 1 else 0)
    shift = shift if factor > 1 else np.float32(np.floor(factor * tolerance / ulp) * ulp)
    nodes = after(helper.make_node("Add", ["y_", "shift"], ["y"]))
    code, result = judged(graph(nodes, constants={"shift": shift}))
    assert result["status"] == status
    assert code == (status == "fail")
    ratios = [o["ratio"] for c in result["cases"] for o in c["outputs"] if o["name"] == "y"]
    assert max(ratios) == pytest.approx(shift / tolerance, rel=1e-6)
    assert min(ratios) > 0.5


def test_one_wrong_step_is_located(judged):
    mask = np.zeros((30, FEATURES), np.float32)
    mask[4, 1] = 1e-4
    nodes = after(
        helper.make_node("Shape", ["x"], ["shape"], start=1, end=2),
        helper.make_node("Slice", ["mask", "zero", "shape", "zero"], ["error"]),
        helper.make_node("Add", ["y_", "error"], ["y"]),
    )
    constants = {"mask": mask, "zero": np.array([0])}
    result = failing(judged(graph(nodes, constants=constants)), "compare", "sequence=9")
    case = next(c for c in result["cases"] if c["status"] == "fail")
    assert case["lengths"] == {"sequence": 9}
    assert case["outputs"][0]["worst_step"] == 4
    assert case["outputs"][0]["worst_index"][1:] == [4, 1]
    assert [c["status"] for c in result["cases"]].count("fail") == 2


def test_nan_fails(judged):
    nodes = after(
        helper.make_node("Sub", ["y_", "y_"], ["zeros"]),
        helper.make_node("Div", ["zeros", "zeros"], ["y"]),
    )
    failing(judged(graph(nodes)), "compare", "not finite")


def test_infinity_fails(judged):
    nodes = after(helper.make_node("Mul", ["y_", "inf"], ["y"]))
    constants = {"inf": np.float32(np.inf)}
    failing(judged(graph(nodes, constants=constants)), "compare", "not finite")


def test_a_negated_output_fails(judged):
    nodes = after(helper.make_node("Neg", ["y_"], ["y"]))
    result = failing(judged(graph(nodes)), "compare", "times the tolerance")
    assert result["cases"][0]["outputs"][0]["max_rel"] == pytest.approx(2, rel=1e-5)


def test_a_missing_output_fails(judged):
    failing(judged(graph(outputs=OUTPUTS[:1])), "check", "missing total")


def test_an_extra_output_fails(judged):
    nodes = [*clean_nodes(), helper.make_node("Identity", ["y"], ["more"])]
    extra = ("more", TensorProto.FLOAT, ["batch", "sequence", FEATURES])
    failing(judged(graph(nodes, [*OUTPUTS, extra])), "check", "extra more")


def test_a_renamed_output_fails(judged):
    renamed = [("z", TensorProto.FLOAT, ["batch", "sequence", FEATURES]), OUTPUTS[1]]
    failing(judged(graph(clean_nodes(y="z"), renamed)), "check", "missing y; extra z")


def test_a_retyped_output_fails(judged):
    nodes = after(helper.make_node("Cast", ["y_"], ["y"], to=TensorProto.DOUBLE))
    retyped = [("y", TensorProto.DOUBLE, ["batch", "sequence", FEATURES]), OUTPUTS[1]]
    failing(judged(graph(nodes, retyped)), "check", "float64, expected float32")


def test_a_declared_example_length_fails(judged):
    baked = [("y", TensorProto.FLOAT, ["batch", 9, FEATURES]), OUTPUTS[1]]
    failing(judged(graph(outputs=baked)), "check", "axis 1 is 9, expected 'sequence'")


def test_a_length_baked_into_a_constant_fails(judged):
    nodes = after(helper.make_node("Reshape", ["y_", "shape"], ["y"]))
    constants = {"shape": np.array([-1, 9, FEATURES])}
    result = failing(judged(graph(nodes, constants=constants)), "run", "Reshape")
    good = [c["lengths"]["sequence"] for c in result["cases"] if c["status"] == "pass"]
    assert good == [9]


def test_right_values_in_a_wrong_shape_fail(judged):
    nodes = after(
        helper.make_node("Reshape", ["y_", "flat"], ["y"]),
    )
    constants = {"flat": np.array([1, -1, FEATURES])}
    failing(judged(graph(nodes, constants=constants)), "compare", "shape")


def test_a_value_wrong_only_at_length_thirty_fails(judged):
    nodes = after(
        helper.make_node("Shape", ["x"], ["length"], start=1, end=2),
        helper.make_node("Div", ["length", "limit"], ["over"]),
        helper.make_node("Cast", ["over"], ["error"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["y_", "error"], ["y"]),
    )
    result = failing(
        judged(graph(nodes, constants={"limit": np.array([30])})), "compare", "sequence=30"
    )
    assert [c["status"] for c in result["cases"]] == ["pass", "pass", "pass", "fail", "pass"]


@pytest.mark.parametrize("flags", [("--lengths", "2..3"), ("--batch", "7")])
def test_an_empty_selection_is_an_error(tmp_path, flags, capsys):
    from harness.commands.run import ended

    folder = doubler.record(tmp_path / "golden")
    onnx.save(graph(), tmp_path / "model.onnx")
    call = [str(tmp_path / "model.onnx"), "--golden", str(folder), *flags]
    assert ended(validate, call) == 2
    assert "no golden case has it; there are:" in capsys.readouterr().err


def test_a_keyword_that_matches_no_cell_is_an_error(capsys):
    from harness.commands.run import ended

    assert ended(validate, ["-k", "no_such_cell"]) == 4
    assert "nothing would be compared" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["cases.safetensors", "manifest.json"])
def test_any_flipped_bit_in_a_golden_is_refused(tmp_path, file, capsys):
    from harness.commands.run import ended

    folder = doubler.record(tmp_path / "golden")
    onnx.save(graph(), tmp_path / "model.onnx")
    call = [str(tmp_path / "model.onnx"), "--golden", str(folder)]
    call += ["--report-dir", str(tmp_path / "report")]
    assert ended(validate, call) == 0
    path = Path(folder / file)
    clean = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(clean), 40):
        altered = bytearray(clean)
        altered[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(altered)
        capsys.readouterr()
        assert ended(validate, call) == 2, (place, altered[place])
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
