"""``validate --with``: versions of a runtime side by side, and since which one a cell fails."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from harness import runtimes
from harness.commands.run import ended
from harness.core.errors import UsageError
from harness.runtimes import installing, versions
from harness.validate import main
from tests.support import doubler
from tests.support.versioned_runtime import DISTRIBUTION, wheel

ROOT = Path(__file__).parents[2]
UP = float(np.nextafter(np.float32(2), np.float32(3)))
FACTORS = {"1.0": 2.0, "1.2": 2.0, "1.9": 2.0, "1.10": 2.5, "2.0": 2.5}
"""1.10 comes after 1.9, and has a fault."""


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """``validate`` of the doubler with wheels for an index: its exit code, results and text."""
    monkeypatch.setitem(runtimes.RUNTIMES, "tiny", "tests.support.versioned_runtime:TINY")
    monkeypatch.setitem(versions.RUNTIMES, DISTRIBUTION, "tiny")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for version, factor in FACTORS.items():
        wheel(tmp_path / "wheels", version, factor)
    doubler.record(tmp_path / "golden")
    onnx.save(doubler.graph(), tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)

    def run(*flags):
        code = ended(main, ["model.onnx", "--golden", "golden", "--report-dir", "report", *flags])
        out, err = capsys.readouterr()
        results = json.loads(Path("report/report.json").read_text())["results"] if code < 2 else []
        return code, {r["id"].rpartition("/")[2]: r for r in results}, out + err

    return run


def test_versions_stand_side_by_side_and_the_first_wrong_one_is_named(call):
    code, results, text = call("--with", f"{DISTRIBUTION}==1.10,1.0,1.9")
    assert code == 1, text
    assert {name: r["status"] for name, r in results.items()} == {
        "tiny@1.10": "fail",
        "tiny@1.0": "pass",
        "tiny@1.9": "pass",
    }
    assert "ort-cpu: passes" not in text
    assert "/tiny: passes at 1.0, fails since 1.10, other bits since 1.10" in text
    assert results["tiny@1.9"]["replay"].endswith(f"--with {DISTRIBUTION}==1.9")
    assert results["tiny@1.10"]["evidence"]["factor"] == 2.5


def test_equal_bits_and_other_bits_within_the_tolerance_are_told(call, tmp_path):
    flags = ("--with", f"{DISTRIBUTION}==1.0,1.2", "--runtime", "ort-cpu")
    code, results, text = call(*flags)
    assert (code, len(results)) == (0, 3)
    assert "/tiny: passes at all 2 versions, 1.0 to 1.2, outputs equal to the bit" in text
    other = wheel(tmp_path, "1.3", UP)
    code, _, text = call("--with", f"{DISTRIBUTION}==1.0,{other}")
    assert code == 0
    assert "passes at all 2 versions, 1.0 to 1.3, other bits since 1.3" in text


def test_bisection_runs_what_it_needs(call):
    code, results, text = call("--with", f"{DISTRIBUTION}=={','.join(FACTORS)}", "--bisect")
    assert code == 1
    assert [*results] == ["tiny@1.0", "tiny@1.9", "tiny@1.10", "tiny@2.0"]
    assert "/tiny: passes at 1.0, fails since 1.10" in text
    code, results, _ = call("--with", f"{DISTRIBUTION}==1.0,1.2,1.9", "--bisect")
    assert (code, [*results]) == (0, ["tiny@1.0", "tiny@1.9"])


def test_a_version_is_installed_once_and_a_wheel_each_time(call, tmp_path, monkeypatch):
    assert call("--with", f"{DISTRIBUTION}==1.0")[0] == 0
    made = []
    install = installing._install
    monkeypatch.setattr(
        installing, "_install", lambda *words: made.append(words) or install(*words)
    )
    assert call("--with", f"{DISTRIBUTION}==1.0")[0] == 0
    assert made == []
    assert call("--with", str(wheel(tmp_path, "1.0", 2.5)))[0] == 1
    assert len(made) == 1


def test_outputs_of_a_version_are_kept_and_judged_elsewhere(call):
    assert call("--with", f"{DISTRIBUTION}==1.0", "--save-outputs", "out")[0] == 0
    assert call("--load-outputs", "out")[0] == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("tiny-rt==9.9", "tiny-rt==9.9 cannot be installed:"),
        ("numpy==1.0", "numpy is no runtime; expected ==VERSION of one of onnxruntime"),
        ("1.0", "no distribution; expected ==VERSION"),
        ("tiny-rt==new", "expected DISTRIBUTION==VERSION,VERSION"),
        ("tiny-rt==", "expected DISTRIBUTION==VERSION,VERSION"),
        ("nowhere-1.0-py3-none-any.whl", "no such file"),
        ("odd.whl", "its name is not that of a wheel"),
        ("onnxruntime==1.20.1", "expected 1.24.1 or later"),
    ],
)
def test_what_is_no_version_is_one_line(call, words, text):
    code, _, said = call("--with", words)
    assert code == 2
    assert text in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_another_version_than_the_one_that_is_named_is_not_judged(tmp_path):
    wanted = versions.parse(["onnxruntime==1.24.1"])[0]
    runtime = runtimes.load("ort-cpu")
    (tmp_path / "onnxruntime").mkdir()
    with pytest.raises(Exception, match="is not what this process has"):
        versions.AtVersion(wanted, tmp_path, runtime).prepare("model.onnx")
    with pytest.raises(UsageError, match="no distribution"):
        versions.parse(["1.24.1"])
