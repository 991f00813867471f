"""``validate --relation`` must notice what breaks a relation, and say so as any other failure."""

import json

import pytest

from harness import runtimes
from harness.commands.run import ended
from harness.relations import RELATIONS
from harness.validate import main as validate
from tests.support import recurrence


@pytest.fixture
def judged(tmp_path, capsys, monkeypatch):
    """Validate the tiny LSTM; returns (exit code, the cell's result, standard error)."""

    def run(*flags, fault="", planted="CLEAN"):
        monkeypatch.setitem(runtimes.RUNTIMES, "planted", f"tests.support.recurrence:{planted}")
        path = recurrence.record(tmp_path, recurrence.graph(fault))
        call = [str(path), "--golden", str(tmp_path / "golden"), "--runtime", "planted"]
        call += ["--report-dir", str(tmp_path / "report"), "--json", *flags]
        code = ended(validate, call)
        printed = capsys.readouterr()
        return code, json.loads(printed.out)["results"][0] if printed.out else None, printed.err

    return run


def test_without_the_option_no_relation_is_tried(judged):
    code, result, _ = judged()
    assert code == 0
    assert {case["relation"] for case in result["cases"]} == {""}
    assert len(result["cases"]) == len(recurrence.CASES) + 1


def test_every_relation_comes_after_the_golden_cases(judged):
    code, result, errors = judged("--relation", "all")
    assert (code, result["status"]) == (0, "pass")
    names = [case["relation"] for case in result["cases"]]
    assert list(dict.fromkeys(names)) == ["", *RELATIONS]
    assert names.count("") == len(recurrence.CASES) + 1
    assert "applies to no" not in errors
    assert result["replay"].endswith(f" --relation {','.join(RELATIONS)}")


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        (["--relation", "run-twice,p*"], ["padding", "poison", "pieces", "run-twice"]),
        (["--relation", "pieces", "--relation", "batch-rows"], ["batch-rows", "pieces"]),
    ],
)
def test_relations_are_selected_as_everything_else(judged, flags, chosen):
    code, result, _ = judged(*flags)
    assert code == 0
    assert list(dict.fromkeys(case["relation"] for case in result["cases"]))[1:] == chosen


@pytest.mark.parametrize(
    ("relation", "plant"),
    [
        ("batch-rows", {"fault": "rows-mixed"}),
        ("padding", {"fault": "lengths-ignored"}),
        ("poison", {"fault": "padding-summed"}),
        ("pieces", {"fault": "state-ignored"}),
        ("reversal", {"planted": "FORGETS_DIRECTION"}),
        ("fresh-session", {"planted": "LEAKS"}),
        ("run-twice", {"planted": "WAVERS"}),
    ],
    ids=list(RELATIONS),
)
def test_a_broken_relation_fails_the_cell_where_the_goldens_pass(judged, relation, plant):
    code, result, _ = judged("--relation", relation, **plant)
    assert code == 1
    assert (result["status"], result["stage"]) == ("fail", "compare")
    assert f"relation {relation}: output " in result["reason"]
    failed = {case["relation"] for case in result["cases"] if case["status"] != "pass"}
    assert failed == {relation}


def test_an_unknown_relation_is_refused_with_the_choices(judged):
    code, result, errors = judged("--relation", "peices")
    assert (code, result) == (2, None)
    listed = ", ".join(sorted(RELATIONS))
    assert errors == (
        f"error: unknown relation 'peices' (did you mean pieces?); choose from: {listed}\n"
    )


def test_a_relation_that_compares_nothing_is_named(judged):
    code, _, errors = judged("--relation", "batch-rows,run-twice", "--batch", "1")
    assert code == 0
    assert "relation batch-rows applies to no selected model and case" in errors
    assert "run-twice" not in errors


def test_a_failing_relation_is_told_on_the_console(judged, tmp_path, capsys):
    judged("--relation", "pieces", fault="state-ignored")
    call = [str(tmp_path / "model.onnx"), "--golden", str(tmp_path / "golden")]
    call += ["--runtime", "planted", "--report-dir", str(tmp_path / "report")]
    assert validate([*call, "--relation", "pieces"]) == 1
    shown = capsys.readouterr().out
    assert "sequence=2, batch=1, relation pieces: y step 1" in shown
    assert "first step alone: error" in shown


def test_quiet_names_no_relation(judged, tmp_path, capsys):
    judged("--relation", "run-twice")
    call = [str(tmp_path / "model.onnx"), "--golden", str(tmp_path / "golden"), "-q"]
    call += ["--runtime", "planted", "--report-dir", str(tmp_path / "report"), "--batch", "1"]
    assert validate([*call, "--relation", "batch-rows"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
