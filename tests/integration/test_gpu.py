"""ci/gpu.sh: the job on a machine without a GPU, and its parts with what stands in for one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ci import gpu
from harness.commands.run import ended
from harness.core.errors import UnavailableError
from harness.core.schema import Case
from harness.placing.partition import PlacedNodes, Versions
from harness.placing.verdict import CPU_PROVIDER, CUDA_PROVIDER, Placement
from harness.runtimes import load
from tests.support import tf32
from tests.support.jobs import held

ROOT = Path(__file__).parents[2]
MODEL = "sequence_encoder"


def call(*flags, **environment):
    return subprocess.run(
        [ROOT / "ci/gpu.sh", *map(str, flags)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        check=False,
    )


@pytest.mark.skipif(load("ort-cuda").check() is None, reason="there is a CUDA device")
def test_without_a_device_the_job_ends_with_3_and_one_line(tmp_path):
    result = call("--output", tmp_path / "x.json")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith("error: no CUDA device: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_its_libraries_the_job_ends_with_3_and_one_line():
    result = call(PYTHON="false")
    assert result.returncode == 3
    assert result.stderr.startswith("error: false lacks a library: pip install")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("flags", [(), ("--output", "golden/evidence/ort-cuda-x.json")])
def test_a_rehearsal_is_no_evidence(flags, monkeypatch, capsys):
    monkeypatch.setenv(gpu.VARIABLE, "ort-cpu")
    assert ended(gpu.main, flags) == 2
    printed = capsys.readouterr().err
    assert "is a rehearsal: it needs --output FILE outside golden/evidence" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("code", [2, 3, 4])
def test_a_validation_that_cannot_be_made_ends_the_job(code, tmp_path, monkeypatch, capsys):
    done = SimpleNamespace(returncode=code)
    monkeypatch.setattr(gpu.subprocess, "run", lambda command, check: done)
    monkeypatch.setenv(gpu.VARIABLE, "ort-cpu")
    flags = ("--output", str(tmp_path / "x.json"), "--folder", str(tmp_path / "gpu"))
    assert ended(gpu.main, flags) == code
    assert f"validation of ort-cpu (off) ended with exit code {code}" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


@pytest.mark.slow
def test_every_step_is_rehearsed_without_a_framework(tmp_path):
    for name in ("torch", "tensorflow", "keras"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('a framework was imported')\n")
    ready = [sys.executable, "-m", "harness.validate", MODEL, "--lengths", "1", "-q"]
    subprocess.run([*ready, "--report-dir", tmp_path / "report"], cwd=ROOT, check=True)
    path, folder = tmp_path / "new/evidence.json", tmp_path / "gpu"
    flags = (MODEL, "--output", path, "--folder", folder, "--rounds", "3")
    blocked = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    result = call(*flags, HARNESS_GPU_RUNTIME="ort-cpu", PYTHONPATH=blocked)
    assert result.returncode == 1, result.stderr
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAILS")]
    assert len(failed) == 3, failed
    assert all("the switch had no effect" in line for line in failed)
    evidence = json.loads(path.read_text())
    assert (evidence["schema"], evidence["rehearsal"], evidence["runtime"]) == (1, True, "ort-cpu")
    cells = {f"{MODEL}/{framework}/native/fp32" for framework in ("keras", "torch")}
    for label in ("tf32_off", "tf32_on"):
        validation = evidence["validations"][label]
        assert set(validation["cells"]) == cells
        assert (validation["summary"]["pass"], validation["rows"]) == (2, {"ort-cpu": 6.0})
        assert all(0 < cell["ratio"] < 1 for cell in validation["cells"].values())
    assert "unavailable" in evidence["validations"]["ort-tensorrt"]
    assert set(evidence["canary"]) == {"MatMul", "LSTM", "GRU"}
    assert set(evidence["placement"]["nodes_by_provider"]) == cells
    assert "partitioner" in evidence["placement"]
    assert set(evidence["latency"]["cells"]) == cells
    for lengths in evidence["latency"]["cells"].values():
        assert list(lengths) == ["1", "32", "127", "512", "2048"]
        assert all(figure > 0 for figures in lengths.values() for figure in figures)
    for label in ("off", "on"):
        assert len(list(folder.glob(f"{label}/outputs/*/*/*/*/ort-cpu/manifest.json"))) == 2
    assert path.stat().st_size < gpu.AT_MOST


ABOUT = {"name": "NVIDIA H200 (x)", "cudnn": 91002}


def test_a_device_without_a_name_ends_the_job(monkeypatch):
    monkeypatch.setattr(gpu.cuda, "about", lambda cuda: {**ABOUT, "name": None})
    with pytest.raises(UnavailableError, match="does not tell the name of its device"):
        gpu.device()
    assert gpu.slug("NVIDIA H200 (x)") == "nvidia-h200-x"


def result(status="pass", ratios=(), row="ort-cuda+tf32"):
    evidence = {"tf32": True, "tolerance": {"row": row, "k": 2.0**15}} if ratios else {}
    cases = [{"outputs": [{"ratio": ratio} for ratio in ratios]}]
    fields = {"status": status, "stage": "run", "reason": "why", "evidence": evidence}
    return {"id": "m/torch/native/fp32/ort-cuda", "cases": cases, **fields}


def test_a_digest_has_the_worst_ratio_and_the_reason():
    digest = gpu.digest({"summary": {"cells": 1}, "results": [result(ratios=(0.25, 0.5))]})
    assert digest["rows"] == {"ort-cuda+tf32": 32768.0}
    assert digest["tf32"] == [True]
    assert digest["cells"] == {
        "m/torch/native/fp32": {"status": "pass", "ratio": 0.5, "floors": 16380.0}
    }
    digest = gpu.digest({"summary": {}, "results": [result("fail")]})
    assert digest["cells"] == {"m/torch/native/fp32": {"status": "fail", "reason": "run: why"}}


def job(model=Path("m.onnx")):
    return SimpleNamespace(
        cell=SimpleNamespace(id="m/torch/native/fp32/ort-cuda"), model=model, cases=[], golden=None
    )


@pytest.mark.parametrize(
    ("placed", "differs"),
    [
        (PlacedNodes((Placement(CUDA_PROVIDER, "LSTM", "a"),)), None),
        (PlacedNodes((Placement(CPU_PROVIDER, "LSTM", "a"),)), "other numbers"),
        (PlacedNodes(error="it died"), "it died"),
    ],
)
def test_the_prediction_is_compared_with_what_ran(monkeypatch, placed, differs):
    monkeypatch.setattr(gpu, "partition", lambda files: (Versions("1", "13.0"), [placed]))
    ran = {"nodes_by_provider": {CUDA_PROVIDER: {"LSTM": 1}}, "placement_predicted_by": "1 (13)"}
    ran["placement_differs"] = ["LSTM 'a' on CPU"]
    prediction = gpu.placement([job()], {"m/torch/native/fp32/ort-cuda": ran})
    assert prediction["table"] == {
        "by": ["1 (13)"],
        "differs": {"m/torch/native/fp32": ["LSTM 'a' on CPU"]},
    }
    difference = prediction["partitioner"]["differs"].get("m/torch/native/fp32")
    assert difference is None if differs is None else difference.startswith(differs)


def test_without_a_compiler_the_prediction_is_the_tables_alone(monkeypatch):
    def refuse(files):
        raise UnavailableError("no C compiler")

    monkeypatch.setattr(gpu, "partition", refuse)
    prediction = gpu.placement([job(None)], {"m/torch/native/fp32/ort-cuda": {}})
    assert prediction["partitioner"] == {"unavailable": "no C compiler"}


def test_runs_take_turns_and_the_ratio_is_of_pairs(monkeypatch):
    order, clock = [], iter(np.cumsum([0, 2, 0, 1, 0, 1, 0, 4, 0, 6, 0, 2]))

    class Session:
        def __init__(self, name):
            self.name = name

        def run(self, inputs):
            order.append(self.name)

    monkeypatch.setattr(gpu.time, "perf_counter", lambda: float(next(clock)))
    figures = gpu.paired(Session("cpu"), Session("gpu"), {}, 3)
    assert order == ["cpu", "gpu", "cpu", "gpu", "gpu", "cpu", "cpu", "gpu"]
    assert figures == [4e6, 1e6, 3.0]


def test_latency_is_of_batch_1_at_the_nearest_lengths(monkeypatch):
    cases = [Case({"s": n, "t": 1}, b) for n in (1, 3, 30, 40, 600) for b in (1, 2)]
    taken = SimpleNamespace(load=lambda case: SimpleNamespace(inputs={"case": case.id}))
    inputs = gpu.timed(SimpleNamespace(cases=cases, golden=taken))
    assert list(inputs) == [1, 30, 40, 600]
    assert inputs[30] == {"case": "s30-t1-b1-none"}


def test_a_job_on_a_device_asks_for_the_switch_and_keeps_its_evidence(
    tmp_path, monkeypatch, capsys
):
    calls = []

    def validated(job, runtime, flags, label):
        calls.append((runtime, list(flags), label))
        return {"label": label}, {"environment": {"python": "3"}, "results": []}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, "_validated", validated)
    monkeypatch.setattr(gpu, "load", lambda name: held(tf32.RUNTIME))
    monkeypatch.setattr(gpu.cuda, "about", lambda cuda: ABOUT)
    prepared = SimpleNamespace(jobs=[])
    monkeypatch.setattr(gpu.pipeline, "prepare", lambda selection, tell: prepared)
    monkeypatch.setattr(gpu, "partition", lambda files: (Versions("1", "13.0"), []))
    assert gpu.main([]) == 0, capsys.readouterr()
    assert calls == [
        ("ort-cuda", [], "off"),
        ("ort-cuda", ["--provider-option", "use_tf32=1"], "on"),
        ("ort-tensorrt", [], "tensorrt"),
    ]
    evidence = json.loads((tmp_path / "golden/evidence/ort-cuda-nvidia-h200-x.json").read_text())
    assert evidence["device"] == ABOUT
    assert {probe["verdict"] for probe in evidence["canary"].values()} == {""}
    monkeypatch.setattr(gpu, "load", lambda name: held(tf32.STUCK_ON))
    assert gpu.main([]) == 1
    assert "FAILS: canary LSTM: with TF32 off the error is" in capsys.readouterr().out
