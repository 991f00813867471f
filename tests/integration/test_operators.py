"""``python -m harness.operators``: verdicts, crashes, the table and its exit code."""

import json
import time
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx.backend.test.case import node

from harness import operators, runtimes
from harness.commands.run import ended
from harness.onnx_operators import cases as operator_cases
from harness.onnx_operators.cases import OperatorCase, agrees, difference, left_out
from harness.onnx_operators.survey import survey
from harness.runtimes import RUNTIMES
from harness.runtimes.guard import GuardedRuntime

pytestmark = pytest.mark.slow

# fmt: off
OPS = (
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh",
    "bernoulli",
)
# fmt: on
PLANTED = "tests.support.planted_operators"
EXPECTED = {
    "abs": ("refused", "load: no Abs here"),
    "acos": ("refused", "load: ValueError: two"),
    "acosh": ("refused", "run: no Acosh here"),
    "add": ("agreed", ""),
    "asin": ("crashed", "the process that ran it ended with signal SIGSEGV"),
    "asinh": ("crashed", "the process that ran it did not end within 10 s"),
    "atan": ("wrong", "output y: off by 0.0001 of "),
    "atanh": ("wrong", "output y: off by "),
    "ceil": ("wrong", "output y: float32 [2, 1], expected float32 [2]"),
    "cos": ("wrong", "output y: off by 0 of "),
    "cosh": ("crashed", "the process that ran it ended with signal SIGABRT"),
    "bernoulli": ("not compared", "draws random numbers"),
}


@pytest.fixture(scope="module")
def cases():
    for module in OPS:
        import_module(f"{node.__name__}.{module}")
    some = {case.name: case for case in node._NodeTestCases}
    chosen = {op: some.get(f"test_{op}_example") or some[f"test_{op}"] for op in OPS}
    return {
        op: OperatorCase(case.name, case.model.SerializeToString(), case.data_sets, False)
        for op, case in chosen.items()
    }


@pytest.fixture
def planted(monkeypatch, cases):
    monkeypatch.setitem(RUNTIMES, "planted", f"{PLANTED}:PLANTED")
    monkeypatch.setitem(RUNTIMES, "absent", f"{PLANTED}:ABSENT")
    monkeypatch.setattr(operator_cases, "collect", lambda: list(cases.values()))


def test_every_verdict_and_what_comes_after_a_crash(planted, cases):
    names = []
    surveyed = survey("planted", list(cases.values()), 10, names.append)
    assert (surveyed.version, surveyed.unavailable) == ("1.2", None)
    assert names == [case.name for case in cases.values()]
    for op, (kind, reason) in EXPECTED.items():
        verdict = surveyed.verdicts[cases[op].name]
        assert verdict.kind == kind, (op, verdict)
        assert verdict.reason.startswith(reason), (op, verdict)
    assert surveyed.verdicts[cases["cos"].name].reason.endswith("1 not finite")


def test_a_death_is_told_at_once_whatever_the_process_left(planted, cases):
    begun = time.monotonic()
    (verdict,) = survey("planted", [cases["cosh"]], 600, print).verdicts.values()
    assert verdict.reason.endswith("SIGABRT")
    assert time.monotonic() - begun < 300


def test_the_table_the_report_and_the_exit_code(planted, cases, tmp_path, capfd):
    argv = ["--runtime", "planted", "--runtime", "absent"]
    fine = ["-k", "abs or acos or add or bernoulli"]
    assert ended(operators.main, [*argv, *fine, "--report-dir", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    row = next(line.split() for line in out.splitlines() if line.startswith("planted"))
    assert row == ["planted", "all", "1", "0", "3", "0", "1"]
    assert "absent            unavailable: planted: not here" in out
    assert "said" not in out
    assert "refused" not in out.partition("\n")[2]
    report = json.loads((tmp_path / "operators.json").read_text())
    assert report["selected"] == 5
    assert report["onnx"] == onnx.__version__
    planted_one = report["runtimes"]["planted"]
    assert planted_one["counts"] == {"agreed": 1, "refused": 3, "not compared": 1}
    assert planted_one["cases"][cases["acosh"].name]["reason"] == "run: no Acosh here"
    assert report["runtimes"]["absent"]["unavailable"] == "planted: not here"
    assert ended(operators.main, [*argv[:2], "-k", "atan and not atanh", "--json"]) == 1
    assert json.loads(capfd.readouterr().out)["runtimes"]["planted"]["counts"] == {"wrong": 1}
    assert ended(operators.main, [*argv[:2], "-k", "asin and not asinh"]) == 1
    assert "crashed" in capfd.readouterr().out
    assert ended(operators.main, [*argv[:2], "-k", "abs or add", "-v"]) == 0
    assert f"planted: {cases['abs'].name}: refused: load: no Abs here" in capfd.readouterr().out
    assert ended(operators.main, [*argv[:2], "-k", "abs or bernoulli"]) == 4
    assert capfd.readouterr().err == "error: nothing was compared: no case gave outputs\n"
    assert ended(operators.main, [*argv[2:], "-k", "abs"]) == 3
    assert ended(operators.main, [*argv[:2], "-k", "nothing"]) == 4


def test_what_is_known_to_be_wrong_is_no_failure_and_must_stay_wrong(
    planted, cases, tmp_path, capfd
):
    listed = tmp_path / "known.txt"
    wrong, right = cases["atan"].name, cases["add"].name
    argv = ["--runtime", "planted", "-k", f"{wrong} or {right}", "--known", str(listed)]
    listed.write_text(f"# a comment\nplanted {wrong} # why\n\nort-cpu {right}\n")
    assert ended(operators.main, argv) == 0
    listed.write_text(f"planted {wrong}\nplanted {right}\n")
    assert ended(operators.main, argv) == 1
    assert f"planted {right} is known to be wrong, and is not" in capfd.readouterr().err
    listed.write_text("planted\n")
    assert ended(operators.main, argv) == 2
    assert "known.txt:1: 'planted'; expected RUNTIME CASE" in capfd.readouterr().err
    for runtime in ("planted", "ort-cpu"):
        listed.write_text(f"\n{runtime} {wrong}s\n")
        assert ended(operators.main, argv) == 2
        message = f"known.txt:2: onnx has no case '{wrong}s' (did you mean {wrong}"
        assert message in capfd.readouterr().err
    listed.write_text("planted zzz\n")
    assert ended(operators.main, argv) == 2
    assert capfd.readouterr().err.endswith("known.txt:1: onnx has no case 'zzz'\n")
    listed.write_bytes(b"# \xff\n")
    assert ended(operators.main, argv) == 2
    assert capfd.readouterr().err.endswith("known.txt is no text in UTF-8: byte 2\n")


@pytest.mark.parametrize("names", ["torch", "keras,ort-cpu", "torch*"])
def test_a_framework_runs_no_operator_case(planted, names, capfd):
    assert ended(operators.main, ["--runtime", names]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: --runtime ")
    assert printed.err.endswith(": a framework runs trained models, no operator case\n")


def test_all_runtimes_are_those_that_run_onnx(monkeypatch):
    ours = {name: RUNTIMES[name] for name in ("ort-cpu", "oracle", "torch", "keras-cuda")}
    monkeypatch.setattr(runtimes, "RUNTIMES", ours)
    assert operators._runtimes(["all"]) == ["ort-cpu", "oracle"]


@pytest.mark.parametrize("value", [None, {"y": 1}, [np.ones(2)], np.ones((2, 2))])
def test_what_is_no_list_of_pairs_is_wrong(cases, tmp_path, value):
    session = SimpleNamespace(run=lambda inputs: value, evidence=dict)
    runtime = GuardedRuntime(SimpleNamespace(prepare=lambda path: session))
    verdict = operator_cases.judge(cases["add"], runtime, tmp_path / "m.onnx")
    assert verdict.kind == "wrong"
    assert verdict.reason.endswith("expected a list of (name, array) pairs")


@pytest.mark.parametrize("number", ["99999999999", "1000001", "inf", "nan", "0", "soon"])
def test_a_case_has_a_time_that_anyone_would_wait(number, capfd):
    with pytest.raises(SystemExit) as refused:
        ended(operators.main, ["--timeout", number])
    assert refused.value.code == 2
    printed = capfd.readouterr().err
    assert f"{number!r}; expected a number of seconds above 0, up to 1,000,000" in printed
    assert printed.count("\n") == 1


def test_the_runtimes_know_which_cases_ort_refuses():
    module = import_module(f"{node.__name__}.lstm")
    assert module
    cases = [case for case in node._NodeTestCases if case.name.startswith("test_lstm")]
    some = [
        OperatorCase(case.name, case.model.SerializeToString(), case.data_sets, True)
        for case in cases
    ]
    verdicts = survey("ort-cpu", some, 60, lambda name: None).verdicts
    assert {verdicts.pop("test_lstm_batchwise").kind} == {"refused"}
    assert {verdict.kind for verdict in verdicts.values()} == {"agreed"}
    assert len(verdicts) == 5


F32, F16 = np.float32, np.float16


@pytest.mark.parametrize(
    ("actual", "expected", "same"),
    [
        (F32([1]), F32([1 + 5e-6]), True),
        (F32([1]), F32([1 + 5e-5]), False),
        (F32([1e-4, 900]), F32([2e-4, 900]), True),
        (F32([1e-4, 900]), F32([2e-3, 900]), False),
        (F32([1e-4, np.inf]), F32([2e-4, np.inf]), False),
        (F32([1]), np.array([1.0]), False),
        (F32([np.nan]), F32([np.nan]), True),
        (F32([np.inf]), F32([1]), False),
        (F16([1]), F16([1.005]), True),
        (F32([[1]]), F32([1]), False),
        (np.array([2**53]), np.array([2**53 + 1]), False),
        (np.int32([1]), np.int64([1]), False),
        (np.array(["a"]), np.array(["a"], object), True),
        (np.array(["a"]), np.array(["b"], object), False),
        ([F32([1])], [F32([1])], True),
        ([F32([1])], [F32([1]), F32([1])], False),
        ([F32([1])], [F32([2])], False),
        (None, None, True),
        (F32([1]), None, False),
    ],
)
def test_what_agrees(actual, expected, same):
    assert agrees(actual, expected) is same
    assert (difference([("y", actual)], [expected], wide=False) == "") is same


def test_another_width_agrees_only_where_it_may():
    assert agrees(np.array([1.0]), F32([1]), wide=True)
    assert not agrees(np.array([1.0]), F32([1]), wide=False)
    assert not agrees(F32([1e-4, 900]), F32([2e-4, 900]), wide=True)
    assert difference([], [F32([1])], wide=False) == "0 outputs, expected 1"


def test_what_is_left_out_is_no_more_than_it_says():
    assert left_out("test_training_dropout_default_mask") == "draws random numbers"
    assert left_out("test_training_dropout_zero_ratio") is None
    assert left_out("test_if") is None
    assert left_out("test_bernoulli_double") == "draws random numbers"
