"""``python -m harness.lint``, and the lint's place in ``python -m harness.validate``."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from harness import lint
from harness.commands.run import ended
from harness.exporting import bundle
from harness.linting import RULES, linter
from harness.validate import main as validate
from tests.support import doubler
from tests.support.doubler import FEATURES, clean_nodes, graph

EXAMPLE = {"batch": 5, "sequence": 7}


def baked(length=7):
    """The clean graph with ``length`` in the shape that its output is given."""
    nodes = [*clean_nodes(y="y_"), helper.make_node("Reshape", ["y_", "shape"], ["y"], name="view")]
    return graph(nodes, constants={"shape": np.array([-1, length, FEATURES])})


def unnamed():
    """The clean graph with one warning: an axis that an exporter named."""
    model = graph()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "unk__3"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "steps"
    return model


@pytest.fixture
def call(capsys):
    """Run the command; returns (exit code, standard output, standard error)."""

    def run(*flags):
        code = ended(lint.main, [str(flag) for flag in flags])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def file(tmp_path):
    def save(model, name="model.onnx"):
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return save


def bundled(folder, model, example=EXAMPLE):
    golden = doubler.record(folder.parent / "recorded")
    about = {"key": {}, "exporter": "native", "example": example}
    bundle.write(folder, model.SerializeToString(), about, golden)
    return folder


def test_a_clean_file_ends_with_0(call, file):
    path = file(graph())
    assert call(path) == (0, f"{path}\n1 file: 0 errors, 0 warnings\n", "")


def test_warnings_end_with_0_and_with_1_where_they_are_to_count(call, file):
    path = file(unnamed())
    code, out, _ = call(path)
    assert code == 0
    assert "  warning  unnamed-axis: input 'x' axis 1: is named 'unk__3'; name it" in out
    assert out.endswith("1 file: 0 errors, 1 warning\n")
    assert call(path, "--strict")[0] == 1
    assert call(file(graph()), "--strict")[0] == 0


def test_an_error_ends_with_1(call, file):
    path, clean = file(baked()), file(graph(), "clean.onnx")
    code, out, _ = call(path, clean, "--example", "batch=5,sequence=7")
    assert code == 1
    lines = out.splitlines()
    assert [lines[0], lines[-2]] == [str(path), str(clean)]
    assert lines[1].startswith("  error    baked-length: Reshape 'view' input 'shape': element 1")
    assert lines[-1] == "2 files: 1 error, 0 warnings"
    assert call(path)[0] == 0, "without the example's sizes nothing is proven"


def test_a_bundle_tells_the_sizes_of_its_example(call, tmp_path):
    code, out, _ = call(bundled(tmp_path / "bundle", baked()))
    assert code == 1
    assert "7, the example's sequence" in out
    assert call(bundled(tmp_path / "other", baked(), {"batch": 5, "sequence": 11}))[0] == 0


def test_the_json_names_rule_severity_place_and_remedy(call, file):
    path = file(baked())
    code, out, _ = call(path, "--json", "--example", "sequence=7")
    assert code == 1
    report = json.loads(out)
    assert (report["schema"], [each["file"] for each in report["files"]]) == (1, [str(path)])
    first = report["files"][0]["findings"][0]
    assert set(first) == {"rule", "severity", "place", "found", "remedy"}
    assert (first["rule"], first["severity"]) == ("baked-length", "error")


def test_the_rules_are_listed_with_a_sentence_each(call):
    code, out, _ = call("--list")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(RULES)
    assert all(line.endswith(".") and len(line.split()) > 4 for line in lines)


def test_another_export_shows_what_is_baked(call, file):
    path, other = file(baked(7)), file(baked(11), "other.onnx")
    code, out, _ = call(path, "--against", other)
    assert code == 1
    assert "Reshape 'view' input 'shape': is 7 here and 11 in the other export" in out
    assert out.count("Reshape 'view'") == 1, "the same place is told twice"
    clean = file(graph(), "clean.onnx")
    assert call(clean, "--against", clean)[0] == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["nowhere.onnx"],
            "nowhere.onnx: no such file or folder; expected a bundle",
        ),
        ([], "nothing to lint: expected .onnx files or bundle folders"),
        (["a.onnx", "b.onnx", "--against", "c.onnx"], "--against compares one file with another"),
        (["a.onnx", "--example", "sequence"], "--example 'sequence': expected AXIS=N"),
        (["a.onnx", "--example", "sequence=0"], "--example 'sequence=0': expected AXIS=N"),
        (["."], ". is not a bundle: no readable manifest.json in it"),
    ],
)
def test_a_call_that_is_not_usable_ends_with_2_and_one_line(call, flags, message):
    code, out, err = call(*flags)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("size", [0, 1, 10, 100, 200, -1])
def test_a_file_cut_short_ends_with_2_and_one_line(call, file, size):
    path = file(graph())
    path.write_bytes(path.read_bytes()[:size])
    code, out, err = call(file(graph(), "good.onnx"), path)
    assert (code, out) == (2, "")
    assert str(path) in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("data", [b"\xff\x00junk", b"# a text\n", b"\x08\x08"])
def test_a_file_that_is_no_model_ends_with_2_and_one_line(call, tmp_path, data):
    path = tmp_path / "junk.onnx"
    path.write_bytes(data)
    code, _, err = call(path)
    assert code == 2
    assert "ONNX model" in err
    assert len(err.splitlines()) == 1


def test_a_bundle_whose_export_failed_holds_no_model(call, tmp_path):
    about = {"key": {}, "failure": {"stage": "export", "reason": "packed sequences"}}
    bundle.write(tmp_path / "bundle", None, about, None)
    code, _, err = call(tmp_path / "bundle")
    assert code == 2
    assert "holds no model: its export failed (packed sequences)" in err


@pytest.mark.parametrize("example", [{"batch": "5"}, {"batch": 0}, {"batch": 2.5}, [5]])
def test_a_bundle_without_sizes_of_its_example_ends_with_2_and_one_line(call, tmp_path, example):
    code, _, err = call(bundled(tmp_path / "bundle", baked(), example))
    assert code == 2
    assert "manifest.json: expected" in err
    assert len(err.splitlines()) == 1


@pytest.fixture
def judged(tmp_path, capsys):
    """Validate a subject; returns (the cell's result, what the console shows)."""

    def run(*call):
        report = tmp_path / "report"
        flags = ["--report-dir", str(report), "--runtime", "ort-cpu"]
        validate([*map(str, call), *flags])
        result = json.loads((report / "report.json").read_text())["results"][0]
        return result, capsys.readouterr().out

    return run


def test_an_error_fails_the_cell_at_check(judged, tmp_path):
    result, shown = judged(bundled(tmp_path / "bundle", baked()))
    assert (result["status"], result["stage"]) == ("fail", "check")
    assert result["reason"].startswith("baked-length: Reshape 'view' input 'shape': element 1 is 7")
    assert [f["rule"] for f in result["evidence"]["lint"]] == ["baked-length"]
    assert "lint: 1 errors, 0 warnings" in shown


def test_what_is_not_proven_fails_no_cell(judged, file, tmp_path):
    golden = doubler.record(tmp_path / "golden")
    result, _ = judged(file(baked(9)), "--golden", golden)
    assert (result["status"], result["stage"]) == ("fail", "run")
    assert {f["severity"] for f in result["evidence"]["lint"]} == {"warning"}


def test_warnings_are_evidence_of_a_cell_that_conforms(judged, file, tmp_path):
    golden = doubler.record(tmp_path / "golden")
    spare = file(graph(constants={"spare": np.float32(1)}))
    result, shown = judged(spare, "--golden", golden)
    assert result["status"] == "pass"
    assert [f["rule"] for f in result["evidence"]["lint"]] == ["unused"]
    assert "providers" in result["evidence"]
    assert "lint" not in shown
    assert "lint: 0 errors, 1 warnings" in judged(spare, "--golden", golden, "-v")[1]
    clean, _ = judged(file(graph()), "--golden", golden)
    assert clean["evidence"]["lint"] == []


def test_a_file_that_is_no_model_is_a_failed_check(tmp_path):
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(linter.CheckError, match=r"junk.onnx is not"):
        linter.of_file(tmp_path / "junk.onnx", {})


def test_what_is_refused_says_how_many_more_there_are():
    findings = [linter.Finding("unused", "error", f"input {k}", "f", "r") for k in "abc"]
    with pytest.raises(linter.CheckError, match=r"unused: input a: f; r \(and 2 more errors\)"):
        linter.refuse(findings)
    linter.refuse([linter.Finding("unused", "warning", "input", "f", "r")])


def test_names_in_a_file_are_shown_and_not_obeyed(call, file):
    name = "\n::error file=x::\x1b[2K\u202e##[group]"
    model = baked()
    model.graph.node[-1].name = name
    path = file(model, "::error::.onnx")
    code, out, _ = call(path, "--example", "sequence=7")
    assert code == 1
    lines = out.removesuffix("\n").split("\n")
    assert r"\n::error file=x::\x1b[2K\u202e\x23#[group]" in lines[1]
    assert all(line.isprintable() and not line.lstrip().startswith("::") for line in lines)


@pytest.mark.parametrize(
    ("flags", "code", "rules"),
    [
        ((), 1, {"baked-length", "unnamed-axis"}),
        (("--ignore", "baked-*"), 0, {"unnamed-axis"}),
        (("--ignore", "baked-*", "--strict"), 1, {"unnamed-axis"}),
        (("--select", "baked-length,unused"), 1, {"baked-length"}),
        (("--select", "unused"), 0, set()),
        (("--select", "unused", "--strict"), 0, set()),
        (("--select", "all", "--ignore", "baked-length", "--ignore", "unnamed-axis"), 0, set()),
    ],
)
def test_rules_are_selected_and_ignored(call, file, flags, code, rules):
    model = baked()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "unk__3"
    path = file(model)
    ended_with, out, _ = call(path, "--example", "batch=5,unk__3=7", *flags, "--format", "json")
    assert ended_with == code
    assert {f["rule"] for f in json.loads(out)["files"][0]["findings"]} == rules


def test_a_format_is_printed_whole_and_a_rule_that_is_none_is_told(call, file):
    path = file(unnamed())
    assert call(path, "--format", "github")[1].startswith(f"::warning file={path},title=unnamed")
    (run,) = json.loads(call(path, "--format", "sarif")[1])["runs"]
    assert run["results"][0]["ruleId"] == "unnamed-axis"
    assert call(path, "--json")[1] == call(path, "--format", "json")[1]
    code, out, err = call(path, "--json", "--format", "sarif")
    assert (code, out) == (2, "")
    assert "--json and --format sarif are two formats" in err
    code, out, err = call(path, "--select", "baked-lenght")
    assert (code, out) == (2, "")
    assert "baked-lenght" in err
    assert "baked-length" in err
