"""Test folders of others' making, ONNX's own generator's among them, judged as they are."""

import json
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx import helper as oh
from onnx import numpy_helper as nh
from onnx.backend.test import cmd_tools
from onnx.backend.test.case import node

from harness.commands.run import ended
from harness.onnx_tests import foreign, layout
from harness.oracle.rounding import measure, noises
from harness.oracle.runtime import ORACLE
from harness.validate import main as validate
from tests.support.small_graphs import FEATURES, lstm, save

SEQUENCE = "identity_sequence"
X = np.random.default_rng(5).normal(size=(2, 7, 3, FEATURES)).astype(np.float32)
LENS = np.array([[7, 2, 5], [1, 7, 3]], np.int32)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The folders that ONNX's generator writes for its recurrent cases and one with a sequence."""
    folder = tmp_path_factory.mktemp("onnx")
    for module in ("lstm", "gru", "rnn", "identity"):
        import_module(f"{node.__name__}.{module}")
    prefixes = ("test_lstm", "test_gru", "test_rnn", "test_simple_rnn", f"test_{SEQUENCE}")
    some = [case for case in node._NodeTestCases if case.name.startswith(prefixes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cmd_tools.model_test, "collect_testcases", lambda: some)
        cmd_tools.generate_data(Namespace(output=str(folder)))
    return folder / "node"


def judged(tmp_path, *folders, runtime="ort-cpu"):
    """The exit code and, by folder name, the results."""
    report = tmp_path / "report"
    argv = [*map(str, folders), "--runtime", runtime, "--no-isolate", "-q"]
    code = ended(validate, [*argv, "--report-dir", str(report)])
    results = json.loads((report / "report.json").read_text())["results"]
    return code, {result["id"].split("/")[0]: result for result in results}


def folder_of(path, model, sets):
    """A folder of ``sets``, each inputs and outputs by name."""
    path.mkdir()
    Path(model).rename(path / "model.onnx")
    for number, (inputs, outputs) in enumerate(sets):
        tensors = {"input": list(inputs.items()), "output": list(outputs.items())}
        layout.write(path, number, tensors)
    return path


def recurrent(tmp_path, dtype=np.float32):
    """An LSTM with sequence_lens in a folder of two sets, rounded from float64 to float32."""
    model = lstm(tmp_path / "m.onnx", lengths=True)
    session = ORACLE.prepare(model)
    sets = []
    for x, lens in zip(X, LENS, strict=True):
        inputs = {"x": x, "lens": lens}
        outputs = {name: value.astype(dtype) for name, value in session.run(inputs)}
        sets.append((inputs, outputs))
    return folder_of(tmp_path / "recurrent", model, sets)


def change(path, place, by):
    """Move one value of a stored tensor."""
    tensor = onnx.load_tensor(str(path))
    value = nh.to_array(tensor).copy()
    value[place] += by
    path.write_bytes(nh.from_array(value, tensor.name).SerializeToString())


def test_what_onnxs_generator_writes_validates(tmp_path, generated):
    folders = sorted(p for k in ("lstm", "gru", "rnn") for p in generated.glob(f"test_*{k}_*"))
    batchwise = [p for p in folders if "batchwise" in p.name]
    folders = [p for p in folders if p not in batchwise]
    assert len(folders) >= 10
    code, results = judged(tmp_path, *folders)
    assert code == 0
    assert {r["status"] for r in results.values()} == {"pass"}
    assert len(results) == len(folders)
    for result in results.values():
        assert result["evidence"]["reference"] == "the stored outputs"
        assert result["evidence"]["noise_floor"].startswith("the largest error of 8 runs")
        (outputs,) = [case["outputs"] for case in result["cases"]]
        assert all(output["noise_floor"] < 1e-6 for output in outputs)
    code, results = judged(tmp_path, *batchwise)
    assert code == 1
    assert all("layout" in result["reason"] for result in results.values())


def test_a_stored_output_is_off_by_the_noise_and_by_half_an_ulp_of_its_own(tmp_path):
    folder = recurrent(tmp_path)
    (first, _) = foreign.read(folder, folder / "model.onnx").golden.sets
    runs = measure(folder / "model.onnx", [first.inputs, {"x": X[1], "lens": LENS[1]}])
    noise = noises(runs)[0]
    assert first.noise_floor == noise
    for name, value in first.outputs.items():
        half = np.spacing(np.abs(value).max()) / 2
        assert first.expected_error[name] == noise[name] + half


@pytest.mark.parametrize("by", [2e-6, 1e-3, np.nan])
def test_a_wrong_stored_output_fails(tmp_path, by):
    folder = recurrent(tmp_path)
    code, results = judged(tmp_path, folder)
    assert (code, results["recurrent"]["status"]) == (0, "pass")
    assert [case["lengths"] for case in results["recurrent"]["cases"]] == [
        {"test_data_set": 0, "sequence": 7},
        {"test_data_set": 1, "sequence": 7},
        {"test_data_set": 0, "sequence": 7},
    ]
    change(folder / "test_data_set_1/output_0.pb", (3, 0, 1, 2), by)
    code, results = judged(tmp_path, folder)
    assert (code, results["recurrent"]["status"]) == (1, "fail")
    assert results["recurrent"]["stage"] == "compare"
    assert (
        "1 of 3 cases; first at test_data_set=1, sequence=7, batch=3"
        in (results["recurrent"]["reason"])
    )
    (bad,) = [o for case in results["recurrent"]["cases"] for o in case["outputs"] if o["reason"]]
    assert (bad["name"], bad["worst_index"]) == ("y", [3, 0, 1, 2])


def test_a_runtime_that_ignores_sequence_lens_fails(tmp_path):
    code, results = judged(tmp_path, recurrent(tmp_path), runtime="onnx-reference")
    assert code == 1
    assert results["recurrent"]["stage"] == "compare"


def test_the_oracle_is_held_to_what_the_stored_outputs_can_tell(tmp_path):
    folder = recurrent(tmp_path)
    assert judged(tmp_path, folder, runtime="oracle")[0] == 0
    change(folder / "test_data_set_0/output_1.pb", (0, 0, 0), 2e-6)
    assert judged(tmp_path, folder, runtime="oracle")[0] == 1


def plain(tmp_path, op, values, outputs, kinds):
    """A folder of one node from a to c, or from a and b."""
    inputs = dict(zip("ab", values, strict=False))
    nodes = [oh.make_node(op, list(inputs), ["c"])]
    taken = [(name, kinds[0], value.shape) for name, value in inputs.items()]
    model = save(tmp_path / "m.onnx", nodes, taken, [("c", kinds[1], [None] * outputs.ndim)])
    return folder_of(tmp_path / "plain", model, [(inputs, {"c": outputs})])


BIG = 2**62
EXACT = {
    "int64": (
        "Add",
        [np.array([BIG, 3]), np.array([1, 4])],
        np.array([BIG + 1, 7]),
        TensorProto.INT64,
    ),
    "bool": ("Not", [np.array([True, False])], np.array([False, True]), TensorProto.BOOL),
    "strings": (
        "StringConcat",
        [np.array(["a", "b"], object), np.array(["x", "y"], object)],
        np.array(["ax", "by"], object),
        TensorProto.STRING,
    ),
}
WRONG = {
    "int64": np.array([BIG, 7]),
    "bool": np.array([False, False]),
    "strings": np.array(["ax", "by "], object),
}


@pytest.mark.parametrize("name", EXACT)
def test_what_is_no_float_is_compared_exactly(tmp_path, name):
    op, values, outputs, kind = EXACT[name]
    folder = plain(tmp_path, op, values, outputs, (kind, kind))
    if name == "strings":
        model = onnx.load(folder / "model.onnx")
        model.opset_import[0].version = 20
        onnx.save(model, folder / "model.onnx")
    code, results = judged(tmp_path, folder)
    assert code == 0, results["plain"]["reason"]
    assert results["plain"]["cases"][0]["lengths"] == {"test_data_set": 0, "c.0": 2}
    wrong = nh.from_array(WRONG[name], "c").SerializeToString()
    (folder / "test_data_set_0/output_0.pb").write_bytes(wrong)
    assert judged(tmp_path, folder)[0] == 1


def test_float16_outputs_are_allowed_their_own_rounding(tmp_path):
    values = [np.float16([0.1, 700.5]), np.float16([0.2, 0.7])]
    exact = np.multiply(*(value.astype(np.float64) for value in values))
    kinds = (TensorProto.FLOAT16, TensorProto.FLOAT16)
    folder = plain(tmp_path, "Mul", values, exact.astype(np.float16), kinds)
    for ulps, expected in ((0, 0), (1, 0), (8, 1)):
        change(folder / "test_data_set_0/output_0.pb", 1, np.float16(ulps / 4))
        code, results = judged(tmp_path, folder)
        (output,) = results["plain"]["cases"][0]["outputs"]
        assert (code, output["noise_floor"] >= 0.125) == (expected, True)


def test_without_the_oracle_the_floor_is_an_ulp_and_the_reason_is_told(tmp_path):
    folder = recurrent(tmp_path)
    model = onnx.load(folder / "model.onnx")
    for own in model.graph.node:
        own.input[:] = ["back" if name == "x" else name for name in own.input]
    axis = nh.from_array(np.array(0, np.int32), "axis")
    model.graph.initializer.extend([axis, nh.from_array(np.array([0]), "axes")])
    there = onnx.helper.make_node("ExpandDims", ["x", "axis"], ["more"], domain="com.microsoft")
    model.graph.node.insert(0, onnx.helper.make_node("Squeeze", ["more", "axes"], ["back"]))
    model.graph.node.insert(0, there)
    model.opset_import.add(domain="com.microsoft", version=1)
    onnx.save(model, folder / "model.onnx")
    code, results = judged(tmp_path, folder)
    floor = results["recurrent"]["evidence"]["noise_floor"]
    assert code == 0
    assert floor == (
        "one ulp of each output's dtype, for the oracle cannot run the graph:"
        " the oracle has no operator com.microsoft.ExpandDims"
    )
    largest = max(o["noise_floor"] for c in results["recurrent"]["cases"] for o in c["outputs"])
    assert largest in (2.0**-24, 2.0**-23)
    change(folder / "test_data_set_0/output_0.pb", (3, 0, 0, 2), 2e-6)
    assert judged(tmp_path, folder)[0] == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"test_{SEQUENCE}", "input x is a sequence; only tensors"),
        ("bfloat16", "input a is bfloat16; bool, integers, float16, float32, float64 and strings"),
        ("float8e5m2", "input a is float8_e5m2; bool, integers"),
    ],
)
def test_what_cannot_be_compared_is_unavailable_and_no_pass(tmp_path, generated, name, reason):
    folder = generated / name
    if not name.startswith("test_"):
        kinds = (getattr(TensorProto, name.upper()),) * 2
        value = np.float32([1, 2]).astype(oh.tensor_dtype_to_np_dtype(kinds[0]))
        folder = plain(tmp_path, "Neg", [value], -value, kinds)
    code, results = judged(tmp_path, folder)
    (result,) = results.values()
    assert code == 4
    assert result["status"] == "unavailable"
    assert result["reason"].startswith(reason)


def test_values_are_taken_by_position_where_they_have_no_names(tmp_path):
    folder = recurrent(tmp_path)
    for path in folder.glob("test_data_set_*/*.pb"):
        tensor = onnx.load_tensor(str(path))
        tensor.name = ""
        path.write_bytes(tensor.SerializeToString())
    assert judged(tmp_path, folder)[0] == 0


def test_values_are_taken_by_name_where_they_have_one(tmp_path):
    folder = recurrent(tmp_path)
    for number in (0, 1):
        a, b = (folder / f"test_data_set_{number}/input_{k}.pb" for k in (0, 1))
        first, second = a.read_bytes(), b.read_bytes()
        a.write_bytes(second)
        b.write_bytes(first)
    assert judged(tmp_path, folder)[0] == 0


def test_lengths_may_differ_between_data_sets_where_the_model_has_a_name_for_them(tmp_path):
    model = lstm(tmp_path / "m.onnx")
    session = ORACLE.prepare(model)
    sets = []
    for x in (X[0], X[1, :4, :1], X[0, :, :0]):
        outputs = {name: v.astype(np.float32) for name, v in session.run({"x": x})}
        sets.append(({"x": x}, outputs))
    folder = folder_of(tmp_path / "lengths", model, sets)
    stored = foreign.read(folder, folder / "model.onnx").golden
    assert [(c.lengths, c.batch) for c in stored.cases] == [
        ({"test_data_set": 0, "sequence": 7}, 3),
        ({"test_data_set": 1, "sequence": 4}, 1),
        ({"test_data_set": 2, "sequence": 7}, 0),
    ]
    assert stored.spec.output("y").axes == ("sequence", 1, "batch", 4)


def broken(folder, what):
    data_set = folder / "test_data_set_0"
    if what == "no model":
        (folder / "model.onnx").unlink()
    elif what == "no readable model":
        (folder / "model.onnx").write_text("nothing\n" * 5)
    elif what == "no input":
        (data_set / "input_1.pb").unlink()
    elif what == "no output":
        (data_set / "output_1.pb").unlink()
    elif what == "more outputs":
        layout.write(folder, 7, {"output": [(n, X[0]) for n in ("y", "h", "z")]})
        (folder / "test_data_set_7/output_2.pb").rename(data_set / "output_2.pb")
    elif what == "no tensor":
        (data_set / "output_0.pb").write_bytes(b"junk")
    elif what == "another dtype":
        wide = nh.from_array(X[0].astype(np.float64), "x")
        (data_set / "input_0.pb").write_bytes(wide.SerializeToString())
    elif what == "another rank":
        flat = nh.from_array(X[0].reshape(7, -1), "x")
        (data_set / "input_0.pb").write_bytes(flat.SerializeToString())


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no model", "has test data sets but no model.onnx"),
        ("no readable model", "is not a readable ONNX model"),
        ("no input", "has 1 inputs; the model has 2: x, lens"),
        ("no output", "has 1 outputs; the model has 2: y, h"),
        ("more outputs", "has 3 outputs; the model has 2: y, h"),
        ("no tensor", "output_0.pb holds no readable tensor"),
        ("another dtype", "input x is float64; the model declares float32"),
        ("another rank", "x has [2, 3] axes in the data sets; expected one number"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_one_line(tmp_path, capsys, what, message):
    folder = recurrent(tmp_path)
    broken(folder, what)
    argv = [str(folder), "--report-dir", str(tmp_path / "report")]
    assert ended(validate, argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    "flags", [["--lengths", "7"], ["--relation", "all"], ["--every-step"], ["--golden", "golden"]]
)
def test_what_only_a_golden_has_cannot_be_asked_of_stored_outputs(tmp_path, capsys, flags):
    assert ended(validate, [str(recurrent(tmp_path)), *flags]) == 2
    error = capsys.readouterr().err
    assert flags[0] in error
    assert error.count("\n") == 1
