"""Planted defects through the command: caught, missed, equivalent, and what is reported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def mutate(report_dir, *arguments):
    command = [sys.executable, "-m", "harness.mutate", *arguments, "--report-dir", str(report_dir)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    path = Path(report_dir) / "mutation.json"
    return result, json.loads(path.read_text()) if path.exists() else None


STRUCTURAL = (
    "gates-swapped,recurrent-bias-doubled,mask-ignored,last-valid-step-dropped,length-baked,"
    "batch-baked-by-reshape,time-and-batch-transposed-when-equal,wrong-beyond-a-length,"
    "wrong-on-second-run,output-renamed,weights-as-float16"
)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_every_structural_defect_is_caught(tmp_path, framework):
    chosen = ("gru_tagger", "--framework", framework, "--defect", STRUCTURAL)
    result, report = mutate(tmp_path, *chosen)
    assert result.returncode == 0, result.stdout + result.stderr
    kinds = {kind["defect"]: kind for kind in report["kinds"]}
    assert set(STRUCTURAL.split(",")) == set(kinds)
    for kind in kinds.values():
        assert kind["caught"] == kind["mutants"] - kind["equivalent"] > 0, kind
    beyond = kinds["wrong-beyond-a-length"]
    assert beyond["length"] == 4096
    assert max(beyond["peers"].values(), default=0) == 0
    assert "missed: " not in result.stdout


def test_noise_of_eight_floors_is_caught_and_of_one_is_not(tmp_path):
    chosen = ("gru_tagger", "--framework", "torch", "--defect", "noise-at-one-step")
    result, report = mutate(tmp_path, *chosen)
    assert result.returncode == 0, result.stderr
    (limit,) = report["limits"]
    assert limit["never"] == 0
    assert 1 < limit["worst"] <= 8
    (cell,) = report["cells"]
    assert limit["worst"] <= cell["noise_bound"] + 1


def test_what_too_few_cases_cannot_see_is_missed_and_told(tmp_path):
    result, report = mutate(
        *(tmp_path, "gru_tagger", "--framework", "torch", "--lengths", "1", "--batch", "1"),
        *("--defect", "mask-ignored,biases-swapped,gates-swapped,wrong-beyond-a-length"),
    )
    assert result.returncode == 1
    kinds = {kind["defect"]: kind for kind in report["kinds"]}
    assert kinds["gates-swapped"]["missed"] == 0
    assert kinds["mask-ignored"]["missed"] == 1
    assert "missed: mask-ignored" in result.stdout
    assert "noise floors in exact arithmetic" in result.stdout


def test_a_swap_of_what_is_added_is_equivalent(tmp_path):
    result, report = mutate(
        *(tmp_path, "sequence_encoder", "--framework", "torch", "--defect", "biases-swapped")
    )
    assert result.returncode == 0, result.stdout
    (kind,) = report["kinds"]
    assert (kind["equivalent"], kind["caught"], kind["missed"]) == (kind["mutants"], 0, 0)
    assert kind["mutants"] > 0


def test_peers_see_the_steps_that_a_golden_stores(tmp_path):
    kind = ("--defect", "output-negated", "--lengths", "1..17")
    _, named = mutate(tmp_path / "named", "gru_tagger", "--framework", "torch", *kind)
    bundle = "build/artifacts/gru_tagger/torch/native/fp32"
    result, file = mutate(
        tmp_path / "file", f"{bundle}/model.onnx", "--golden", "golden/gru_tagger/torch", *kind
    )
    assert result.returncode == 0, result.stderr
    for report in (named, file):
        assert report["cells"][0]["alarming_peers"] == []
        assert all(count == 1 for count in report["kinds"][0]["peers"].values())
        assert len(report["kinds"][0]["peers"]) == 4


def test_what_is_planted_nowhere_and_what_cannot_be_studied_is_no_pass(tmp_path):
    chosen = ("gru_tagger", "--framework", "torch", "--lengths", "1")
    nowhere, report = mutate(tmp_path / "report", *chosen, "--defect", "peepholes-added")
    assert (nowhere.returncode, report) == (4, None)
    assert nowhere.stderr.count("\n") == 1
    framework, report = mutate(tmp_path / "report", *chosen, "--runtime", "torch")
    assert (framework.returncode, report) == (2, None)
    assert framework.stderr.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_bad_calls_are_one_line(tmp_path):
    unknown, report = mutate(tmp_path, "gru_tagger", "--defect", "gate-swap")
    assert (unknown.returncode, report) == (2, None)
    assert unknown.stderr.count("\n") == 1
    assert "did you mean" in unknown.stderr
    model, _ = mutate(tmp_path, "gru_taggr")
    assert model.returncode == 2
    assert "gru_tagger" in model.stderr


def test_the_list_says_what_each_kind_is(tmp_path):
    result, _ = mutate(tmp_path, "--list")
    assert result.returncode == 0
    assert "gates-swapped: Two gates of a recurrent node have each other's" in result.stdout
