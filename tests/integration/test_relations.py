"""Relations on real models, exported by both frameworks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.relations import RELATIONS

ROOT = Path(__file__).parents[2]
EVERYWHERE = {"batch-rows", "reversal", "fresh-session", "run-twice"}
HOLDING = {
    "language_model": set(RELATIONS),
    "streaming_classifier": EVERYWHERE | {"pieces"},
    "encoder_decoder": EVERYWHERE | {"padding", "poison"},
    "bidirectional_tagger": EVERYWHERE | {"padding", "poison"},
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relations")
    command = [sys.executable, "-m", "harness.validate", *HOLDING, "--relation", "all"]
    command += ["--lengths", "1,2,7,33,128", "--runtime", "ort-cpu", "--report-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("framework", ["keras", "torch"])
@pytest.mark.parametrize("model", HOLDING)
def test_every_relation_that_applies_holds(report, model, framework):
    (result,) = [r for r in report["results"] if r["id"].startswith(f"{model}/{framework}/")]
    assert result["status"] == "pass"
    tried = {case["relation"] for case in result["cases"]} - {""}
    assert tried == HOLDING[model]
    for case in result["cases"]:
        assert case["outputs"]
        assert all(output["ratio"] <= 1 for output in case["outputs"])
