"""``--expectations FILE``: strict expected failures of a user's own cells."""

import json

import numpy as np
import onnx
import pytest

from harness.commands.run import ended
from harness.validate import main as validate
from tests.support import doubler

ROW = """
[[expect]]
cell = "{cell}"
stage = "{stage}"
reason = "it is known"
upstream = "https://example.org/1"
"""


@pytest.fixture
def judged(tmp_path, capsys):
    """Judge a right or a wrong doubler with rows, which are of its cell unless told."""

    def judge(*flags, wrong=True, stage="compare", cell="doubler/*/ort-cpu", file="own.toml"):
        golden = doubler.record(tmp_path / "golden")
        model = doubler.graph(constants={"two": np.float32(2.5)} if wrong else {})
        onnx.save(model, tmp_path / "model.onnx")
        (tmp_path / "own.toml").write_text(ROW.format(cell=cell, stage=stage))
        call = [str(tmp_path / "model.onnx"), "--golden", str(golden), "--runtime", "ort-cpu"]
        call += ["--report-dir", str(tmp_path / "report"), "--expectations", str(tmp_path / file)]
        code = ended(validate, [*call, *flags])
        out, err = capsys.readouterr()
        path = tmp_path / "report/report.json"
        results = json.loads(path.read_text())["results"] if path.is_file() else []
        return code, [result["status"] for result in results], out, err

    return judge


def test_a_failure_that_is_expected_is_one_and_is_no_failure_of_the_run(judged, tmp_path):
    code, statuses, out, err = judged()
    assert (code, statuses, err) == (0, ["xfail"], "")
    assert "it is known [https://example.org/1]" in out
    (result,) = json.loads((tmp_path / "report/report.json").read_text())["results"]
    assert result["replay"].endswith(f" --expectations {tmp_path / 'own.toml'}")


@pytest.mark.parametrize("fields", [{"wrong": False}, {"stage": "load"}])
def test_a_pass_and_a_failure_elsewhere_fail(judged, fields):
    code, statuses, out, _ = judged(**fields)
    assert (code, statuses) == (1, ["xpass" if "wrong" in fields else "fail"])
    assert "expected to fail at" in out


def test_a_row_of_no_cell_is_named_and_excuses_nothing(judged, tmp_path):
    code, statuses, _, err = judged(cell="doubler/*/ort-cp")
    assert (code, statuses) == (1, ["fail"])
    assert err == f"{tmp_path / 'own.toml'}: doubler/*/ort-cp is none of the cells of this run\n"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"file": "none.toml"}, "none.toml: No such file or directory"),
        ({"stage": "soon"}, "own.toml: row 1: stage = 'soon'; expected one of export"),
        ({"cell": '"'}, "own.toml is not usable TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(judged, fields, message):
    code, statuses, _, err = judged(**fields)
    assert (code, statuses) == (2, [])
    (line,) = err.splitlines()
    assert message in line
