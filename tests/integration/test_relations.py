"""Relations on real models, exported by both frameworks."""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from harness.relations import RELATIONS
from tests.support import padded_mean

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EVERYWHERE = {"batch-rows", "reversal", "fresh-session", "run-twice"}
HOLDING = {
    "language_model": set(RELATIONS),
    "streaming_classifier": EVERYWHERE | {"pieces"},
    "encoder_decoder": EVERYWHERE | {"padding", "poison"},
    "bidirectional_tagger": EVERYWHERE | {"padding", "poison"},
    "causal_decoder": EVERYWHERE - {"reversal"} | {"pieces"},
    "transformer_encoder": EVERYWHERE - {"reversal"} | {"padding", "poison"},
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


@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_a_cache_is_filled_at_once_and_step_by_step_from_nothing_on(report, framework):
    (result,) = [r for r in report["results"] if r["id"].startswith(f"causal_decoder/{framework}/")]
    tried = [case["lengths"] for case in result["cases"] if case["relation"] == "pieces"]
    assert {lengths["time"] for lengths in tried if lengths["past"] == 0} >= {2, 7, 33}
    assert {lengths["time"] for lengths in tried if lengths["past"] > 0} >= {3, 16}


def test_a_bundle_of_ones_own_model_holds_with_a_padding_that_is_not_zero(tmp_path):
    onnx.save(padded_mean.graph("last id"), tmp_path / "mean.onnx")

    def call(*words):
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    last = padded_mean.ROWS - 1
    ids = f"ids: int64[batch, sequence] in 0..{last}, padding {last}"
    export = ["--input", ids, "--lengths", "1,2,7", "-o", str(tmp_path / "bundle")]
    call("harness.export", str(tmp_path / "mean.onnx"), *export)
    validate = ["--relation", "all", "--report-dir", str(tmp_path)]
    call("harness.validate", str(tmp_path / "bundle"), *validate)
    (result,) = json.loads((tmp_path / "report.json").read_text())["results"]
    tried = {case["relation"] for case in result["cases"]} - {""}
    assert tried == {"batch-rows", "padding", "poison", "fresh-session", "run-twice"}
