"""``harness.compare`` as it is called: its kinds of runs, what it writes, and how it ends."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from harness import compare
from harness.commands.run import ended
from harness.validate import main as validate
from tests.support import doubler

UP = np.nextafter(np.float32(2), np.float32(3))


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """``compare`` in this process: its exit code, its output and its errors."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = ended(compare.main, [*map(str, words)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def runs(call, capsys):
    """Reports and outputs of a model, of one that is an ULP off, and of one that is wrong."""
    doubler.record(Path("golden"))
    for name, two in {"before": np.float32(2), "nearly": UP, "wrong": np.float32(3)}.items():
        onnx.save(doubler.graph(constants={"two": two}), "model.onnx")
        words = ["model.onnx", "--golden", "golden", "-q", "--report-dir", f"{name}_report"]
        ended(validate, [*words, "--save-outputs", f"{name}_outputs"])
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["before_report", "before_report/report.json"], 0, "1 same"),
        (["before_report", "wrong_report"], 1, "newly failing  doubler/"),
        (["wrong_report", "before_report"], 0, "1 mended"),
        (["wrong_report", "wrong_report"], 0, "1 same"),
        (["before_outputs", "before_outputs"], 0, "1 bit-identical"),
        (["before_outputs", "nearly_outputs"], 1, "1 worse; an output may move by 0 ULP"),
        (["before_outputs", "nearly_outputs", "--max-ulp", "4"], 0, "1 same"),
        (["before_outputs", "wrong_outputs", "--max-ulp", "4"], 1, "worse          doubler/"),
    ],
)
def test_what_is_worse_ends_with_1(call, runs, words, code, text):
    ended_with, out, err = call(*words)
    assert (ended_with, err) == (code, "")
    assert text in out


def test_a_comparison_is_written_and_printed(call, runs):
    code, out, _ = call("before_report", "wrong_report", "-o", "there/compared", "--json")
    about = json.loads(out)
    assert code == 1
    assert about["summary"] == {"newly failing": 1}
    (cell,) = about["cells"]
    assert (cell["word"], cell["compared"]) == ("newly failing", 10)
    assert cell["before"] < 1 < cell["after"]
    assert json.loads(Path("there/compared/comparison.json").read_text()) == about
    page = Path("there/compared/comparison.md").read_text()
    assert page.startswith("**Worse**: 1 cell, 10 outputs compared: 1 newly failing;")
    assert "| newly failing | doubler/torch/file/fp32/ort-cpu | fail at compare:" in page
    quiet = call("before_report", "wrong_report", "-q")[1]
    assert quiet.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["before_report", "before_outputs"], "is of reports, before_outputs of saved outputs"),
        (["before_report", "nowhere"], "nowhere: no such file or folder"),
        (["golden", "golden"], "golden: no saved outputs; expected what --save-outputs wrote"),
        (["model.onnx", "model.onnx"], "model.onnx"),
        (["before_report", "before_report", "--max-ulp", "1"], "--max-ulp is for saved outputs"),
        (["before_outputs", "before_outputs", "--budget", "3"], "--budget is for reports"),
        (["before_report", "before_report", "--runtime", "ort-cpu"], "--runtime is for bundles"),
        (["before_report", "before_report", "-o", "model.onnx/x"], "model.onnx"),
    ],
)
def test_what_cannot_be_compared_is_one_line(call, runs, words, text):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert text in err
    assert err.count("\n") == 1


def test_bundles_run_over_one_golden(call, shipped):
    folder, model = shipped
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    code, out, _ = call(folder, other)
    assert code == 0
    assert "1 bit-identical" in out
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    moved = np.frombuffer(weights.raw_data, np.float32) * np.float32(1.01)
    weights.raw_data = moved.tobytes()
    onnx.save(model, other / "model.onnx")
    code, out, err = call(folder, other)
    assert (code, out) == (2, "")
    assert "was altered" in err
    about = json.loads((other / "manifest.json").read_text())
    about["sha256"] = hashlib.sha256((other / "model.onnx").read_bytes()).hexdigest()
    (other / "manifest.json").write_text(json.dumps(about))
    code, out, _ = call(folder, other, "--max-ulp", 2)
    assert code == 1
    assert "1 worse" in out
