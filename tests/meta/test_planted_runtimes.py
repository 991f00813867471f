"""A runtime that lies, falls back or changes its mind must not conform."""

import json

import onnx
import pytest

from ci import gpu
from harness import runtimes
from harness.commands.run import ended
from harness.validate import main as validate
from tests.support import doubler


@pytest.fixture
def judged(tmp_path, capsys, monkeypatch):
    def run(planted, *flags):
        monkeypatch.setitem(runtimes.RUNTIMES, "planted", f"tests.support.planted:{planted}")
        folder = doubler.record(tmp_path / "golden")
        onnx.save(doubler.graph(), tmp_path / "model.onnx")
        call = [str(tmp_path / "model.onnx"), "--golden", str(folder), "--runtime", "planted"]
        call += ["--report-dir", str(tmp_path / "report"), "--json", *flags]
        code = ended(validate, call)
        out, run.err = capsys.readouterr()
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


def test_a_runtime_of_anothers_is_judged_by_the_row_that_it_states(judged):
    code, result = judged("COARSE")
    assert (code, result["status"]) == (0, "pass"), result["reason"]
    row = {"row": "planted", "k": 1e5, "reason": "it computes in sixteenths"}
    assert result["evidence"]["tolerance"] == row
    (y, *_) = result["cases"][0]["outputs"]
    assert 0.1 < y["ratio"] < 1
    _, clean = judged("CLEAN")
    assert clean["evidence"]["tolerance"] == {"row": "planted", "k": 4.0, "reason": "the default"}


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


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ("CHECKS_BY_QUITTING", "check() raised SystemExit: 0"),
        ("CHECKS_BY_RAISING", "check() raised ValueError: a runtime's own error"),
        ("CHECKS_BY_A_NUMBER", "check() returned int, expected None or a reason"),
    ],
)
def test_a_check_that_does_not_answer_makes_the_runtime_unavailable(judged, planted, reason):
    code, result = judged(planted, "--no-isolate")
    assert (code, result["status"], result["reason"]) == (4, "unavailable", reason)
    assert judged(planted, "--require", "planted") == (3, None)
    assert judged.err == f"error: runtime planted is required and not available: {reason}\n"


def test_the_cuda_job_tells_a_check_that_does_not_answer(tmp_path, capsys, monkeypatch):
    planted = "tests.support.planted:CHECKS_BY_RAISING"
    monkeypatch.setitem(runtimes.RUNTIMES, "planted", planted)
    monkeypatch.setenv(gpu.VARIABLE, "planted")
    assert ended(gpu.main, ["--output", str(tmp_path / "x.json")]) == 3
    assert capsys.readouterr().err == "error: check() raised ValueError: a runtime's own error\n"


@pytest.mark.parametrize("isolation", ["--isolate", "--no-isolate"])
@pytest.mark.parametrize(
    ("planted", "message"), [("QUITS", "SystemExit: 0"), ("PANICS", "PanicError: a planted")]
)
def test_what_would_end_the_process_is_an_error_of_its_case(judged, planted, message, isolation):
    code, result = judged(planted, isolation)
    assert (code, result["status"], result["stage"]) == (1, "error", "run")
    assert result["reason"].endswith(f"sequence=9, batch=3: {message}")
    assert [case["status"] for case in result["cases"]] == [*["pass"] * 2, "error", *["pass"] * 2]


@pytest.mark.parametrize(
    ("planted", "got"),
    [
        ("NOTHING", "NoneType"),
        ("MAPPING", "dict"),
        ("LAZY", "generator"),
        ("BARE", "ndarray for a pair"),
        ("NUMBERED", "int for a name"),
        ("LISTS", "list for output y"),
        ("MASKED", "MaskedArray for output y"),
    ],
)
def test_outputs_of_another_type_fail_their_case_and_no_other(judged, planted, got):
    code, result = judged(planted, "--no-isolate")
    assert (code, result["status"], result["stage"]) == (1, "fail", "run")
    assert result["reason"].endswith(
        f"sequence=9, batch=3: expected a list of (name, array) pairs, got {got}"
    )
    assert [case["status"] for case in result["cases"]] == [*["pass"] * 2, "fail", *["pass"] * 2]


@pytest.mark.parametrize("planted", ["SPOILS", "REUSES", "BIG_ENDIAN"])
def test_habits_that_cost_no_verdict(judged, planted):
    code, result = judged(planted, "--no-isolate")
    assert (code, result["status"]) == (0, "pass"), result["reason"]


@pytest.mark.parametrize("isolation", ["--isolate", "--no-isolate"])
def test_evidence_is_told_as_json_can_hold_it(judged, isolation):
    code, result = judged("TELLS_NUMPY", isolation)
    assert (code, result["status"]) == (0, "pass")
    assert (result["evidence"]["threads"], result["evidence"]["scales"]) == (3, [1.5, "nan"])


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ("TELLS_BY_RAISING", "evidence() raised ValueError: a runtime's own error"),
        ("TELLS_NOTHING", "evidence() returned NoneType, expected a mapping"),
    ],
)
def test_a_cell_does_not_pass_without_evidence(judged, planted, reason):
    code, result = judged(planted, "--no-isolate")
    assert (code, result["status"], result["stage"], result["reason"]) == (1, "fail", "run", reason)
    assert [case["status"] for case in result["cases"]] == ["pass"] * 5


def test_a_case_that_fails_is_told_before_missing_evidence(judged):
    code, result = judged("TRANSPOSES_AND_RAISES", "--no-isolate")
    assert (code, result["status"], result["stage"]) == (1, "fail", "compare")
    assert result["evidence"]["error"].startswith("evidence() raised ")


def test_what_a_runtime_prints_does_not_mix_with_the_report(judged):
    code, result = judged("BABBLES", "--no-isolate", "--require", "planted")
    assert (code, result["status"]) == (0, "pass")
    said = [line for line in judged.err.splitlines() if line.endswith("ing")]
    assert said == ["checking", "checking", *["running"] * 5, "telling"]


def test_a_relation_survives_what_would_end_the_process(judged):
    code, result = judged("ALWAYS_QUITS", "--no-isolate", "--relation", "run-twice")
    assert (code, result["status"], result["stage"]) == (1, "error", "run")
    assert {case["relation"] for case in result["cases"]} == {"", "run-twice"}
