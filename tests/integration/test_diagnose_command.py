"""``diagnose`` from the command line, and the folder that shows what it found."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from harness import diagnose
from harness.commands.run import ended
from harness.core.errors import UsageError
from harness.core.loader import by_harness
from harness.diagnosis import examine, report, reproduction
from harness.graphs.view import Net
from harness.runtimes import RUNTIMES
from tests.support import diagnosed, doubler
from tests.support.diagnosed import (
    GRU,
    SE,
    examined,
    planted,
    reproduced,
)


def test_the_command_writes_a_folder_that_shows_it_alone(tmp_path, capsys):
    path = planted(tmp_path, *GRU, "gates-swapped", "GRU 0 z/r")
    folder = tmp_path / "shown"
    call = [
        str(path),
        "--golden",
        "golden/gru_tagger/torch",
        "--lengths",
        "1..9",
        "-o",
        str(folder),
    ]
    assert diagnose.main([*call, "--json", "-q"]) == 1
    printed = capsys.readouterr()
    (diagnosis,) = json.loads(printed.out)["diagnoses"]
    assert diagnosis["node"]["node"] == "GRU 'gru.l0_forward'"
    assert diagnosis["shortest"]["lengths"] == {"sequence": 1}
    assert diagnosis["departure"]["first_step"] == 0
    assert len(diagnosis["along"]["errors"]) == 9
    assert "looks like gate order (confirmed)" in printed.err
    assert json.loads((folder / "diagnosis.json").read_text())["diagnoses"] == [diagnosis]
    assert "┤" in (folder / "diagnosis.md").read_text()
    assert "GRU 'gru.l0_forward'" in (folder / "ISSUE.md").read_text()
    script = (folder / "reproduce.py").read_text()
    assert "harness" not in script
    assert reproduced(folder) == 1
    # with the right weights in its place the same script ends with 0
    cut, right = onnx.load(folder / "model.onnx"), Net(onnx.load(diagnosed.right(*GRU)))
    (node,) = cut.graph.node
    names = [f"gru.{letter}_l0_forward" for letter in "WRB"]
    values = dict(zip(node.input[1:4], (right.constants[name] for name in names), strict=True))
    for tensor in cut.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    onnx.save_model(cut, folder / "model.onnx")
    assert reproduced(folder) == 0


def test_a_cell_that_passes_is_said_to(tmp_path, capsys):
    path = str(diagnosed.right(*SE))
    golden = ["--golden", "golden/sequence_encoder/keras", "--lengths", "1..4"]
    assert diagnose.main([path, *golden, "-q", "-o", str(tmp_path / "none")]) == 0
    assert "nothing to diagnose" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", [None, "softmax-as-sigmoid"])
def test_a_runtime_that_ends_its_process_does_not_end_the_diagnosis(
    tmp_path, capsys, monkeypatch, kind
):
    """What the graph itself computes is looked at all the same."""
    monkeypatch.setitem(RUNTIMES, "aborting", "tests.support.diagnosed:ABORTING")
    path = planted(tmp_path, *GRU, kind, "Softmax 0") if kind else diagnosed.right(*GRU)
    call = [str(path), "--golden", "golden/gru_tagger/torch", "--lengths", "1..3", "-q"]
    assert diagnose.main([*call, "--runtime", "aborting", "-o", str(tmp_path / "shown")]) == 1
    printed = capsys.readouterr().out
    assert "ended with signal SIGABRT" in printed
    assert ("fault      the graph" in printed) is bool(kind)
    assert ("Sigmoid 'node_softmax'" in printed) is bool(kind)
    assert (tmp_path / "shown/reproduce.py").is_file()


@pytest.mark.parametrize("name", ["RAISES", "PANICS", "LISTS", "TRANSPOSES_AND_RAISES"])
def test_a_runtime_of_anothers_that_raises_is_diagnosed(tmp_path, capsys, monkeypatch, name):
    """Whatever it raises is a failure of its stage, and no traceback."""
    monkeypatch.setitem(RUNTIMES, "theirs", f"tests.support.planted:{name}")
    path = tmp_path / "doubler.onnx"
    onnx.save(doubler.graph(), path)
    golden = doubler.record(tmp_path / "golden")
    call = [str(path), "--golden", str(golden), "-q", "-o", str(tmp_path / "shown")]
    assert ended(diagnose.main, [*call, "--runtime", "theirs"]) == 1
    printed = capsys.readouterr()
    assert "fails at stage" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (["--runtime", "ort-cpu", "-o", "somewhere"], "-o is for one cell; 2 are selected"),
        (["--framework", "torch", "--runtime", "torch"], "runs no graph"),
        (["-k", "gru_tagger/torch", "--against", "nowhere.onnx"], "no such file"),
        (["-k", "gru_tagger/torch", "--against", "README.md"], "--against: README.md"),
        (["--runtime", "nothing"], "unknown runtime 'nothing'"),
    ],
)
def test_an_unusable_call_is_one_line(call, words):
    with pytest.raises(UsageError, match=words) as error:
        diagnose.main(["gru_tagger", *call, "-q", "--lengths", "1..2"])
    assert "\n" not in str(error.value)


def test_another_s_folder_is_not_replaced(tmp_path):
    path = planted(tmp_path, *GRU, "softmax-as-sigmoid", "Softmax 0")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all of it")
    call = [str(path), "--golden", "golden/gru_tagger/torch", "--lengths", "1..2", "-o", str(mine)]
    with pytest.raises(UsageError, match="something else than a diagnosis"):
        diagnose.main([*call, "-q"])
    assert (mine / "thesis.txt").read_text() == "all of it"


def test_a_graph_to_compare_with_that_is_wrong_too_is_refused(tmp_path):
    path = planted(tmp_path, *GRU, "softmax-as-sigmoid", "Softmax 0")
    with pytest.raises(UsageError, match="--against: the graph to compare with departs"):
        examine.cell(diagnosed.job(*GRU, path), path, by_user=True)


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    path = planted(tmp_path, *GRU, "softmax-as-sigmoid", "Softmax 0")
    diagnosis = examined(path, *GRU)

    def stop(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(reproduction, "script", stop)
    with pytest.raises(OSError, match="full"):
        reproduction.write(tmp_path / "half", by_harness("ort-cpu"), diagnosis.example, {})
    assert not (tmp_path / "half").exists()


def test_an_error_that_is_not_finite_reaches_the_report(tmp_path):
    path = planted(tmp_path, *GRU, "output-not-finite", "probabilities NaN")
    diagnosis = examined(path, *GRU)
    text = report.dumps("diagnose", {}, [(diagnosis, None)])
    assert json.loads(text)["diagnoses"][0]["departure"]["errors"][0] is None
    assert np.isinf(diagnosis.at.errors[0])
