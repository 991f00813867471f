"""A runtime that lies, falls back or changes its mind must not conform."""

import json

import onnx
import pytest

import harness.validate as validate
from harness import arguments, runtimes
from tests.support import doubler


@pytest.fixture
def judged(tmp_path, capsys, monkeypatch):
    def run(planted, *flags):
        monkeypatch.setitem(runtimes.RUNTIMES, "planted", f"tests.support.planted:{planted}")
        folder = doubler.record(tmp_path / "golden")
        onnx.save(doubler.graph(), tmp_path / "model.onnx")
        call = [str(tmp_path / "model.onnx"), "--golden", str(folder), "--runtime", "planted"]
        call += ["--report-dir", str(tmp_path / "report"), "--json", *flags]
        code = arguments.ended(validate.main, call)
        out = capsys.readouterr().out
        return code, json.loads(out)["results"][0] if out else None

    return run


def test_the_clean_runtime_conforms(judged):
    code, result = judged("CLEAN")
    assert (code, result["status"]) == (0, "pass")


@pytest.mark.parametrize(
    ("planted", "stage", "word"),
    [
        ("SILENT_FALLBACK", "run", "LSTM 'lstm' on CPUExecutionProvider"),
        ("LOAD_FALLBACK", "load", "fell back"),
        ("DROPS", "compare", "missing output total"),
        ("DOUBLES", "compare", "extra output y"),
        ("RENAMES", "compare", "missing output y"),
        ("RETYPES", "compare", "float16, expected float32"),
        ("TRANSPOSES", "compare", "has shape"),
        ("SWAPS", "compare", "has shape"),
        ("LAST_RUN_WRONG", "compare", "1 of 5 cases"),
        ("RAISES", "run", "a runtime's own error"),
    ],
)
def test_a_planted_runtime_fails_at_its_stage(judged, planted, stage, word):
    code, result = judged(planted)
    assert code == 1
    assert (result["status"], result["stage"]) == ("fail", stage), result["reason"]
    assert word in result["reason"]
    assert "\n" not in result["reason"]


def test_the_first_case_is_run_again_at_the_end(judged):
    _, result = judged("LAST_RUN_WRONG")
    assert [case["status"] for case in result["cases"]] == ["pass"] * 4 + ["fail"]
    assert result["cases"][-1]["repeat"]
    assert result["cases"][-1]["lengths"] == result["cases"][0]["lengths"]


def test_an_unavailable_runtime_is_not_a_pass(judged):
    code, result = judged("ABSENT")
    assert (code, result["status"]) == (4, "unavailable")
    assert result["reason"] == "no such device"


def test_a_required_runtime_that_is_unavailable_ends_with_three(judged):
    code, result = judged("ABSENT", "--require", "planted")
    assert (code, result) == (3, None)
