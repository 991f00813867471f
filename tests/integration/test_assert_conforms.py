"""``assert_conforms``: what it takes, what it lets pass, and what it says of what it does not."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import harness
from harness import runtimes
from harness.core.errors import UsageError
from harness.exporting import bundle
from harness.runtimes import RUNTIMES
from harness.testing.assertions import assert_conforms
from tests.support import doubler

LENGTHS = len(doubler.CASES)


@pytest.fixture
def shipped(tmp_path):
    def ship(**constants):
        golden = doubler.record(tmp_path / "golden")
        about = {"key": {}, "example": {"batch": 2, "sequence": 5}}
        about |= {"exporter": "native", "variant": "fp32"}
        model = doubler.graph(constants=constants).SerializeToString()
        bundle.write(tmp_path / "bundle", model, about, golden)
        return tmp_path / "bundle"

    return ship


def wrong():
    return {"two": np.float32(2.5)}


def test_a_bundle_that_conforms_passes_and_its_report_is_returned(shipped):
    report = assert_conforms(shipped(), runtimes=["ort-cpu"])
    assert report.summary["pass"] == 1
    assert report.comparisons == 2 * (LENGTHS + 1)


def test_what_fails_is_told_case_by_case_and_how_to_see_it_again(shipped):
    folder = shipped(**wrong())
    with pytest.raises(AssertionError) as caught:
        assert_conforms(folder, runtimes=["ort-cpu"], lengths=[1, 4])
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("the export does not conform: 1 cell, 6 comparisons")
    assert any("sequence=4, batch=1: y step" in line for line in lines)
    assert not any("sequence=9" in line for line in lines)
    assert f"python -m harness.validate {folder}" in lines[-1]


def test_an_onnx_file_is_judged_by_its_golden(shipped, tmp_path):
    model = shipped(**wrong()) / "model.onnx"
    with pytest.raises(AssertionError, match="does not conform"):
        assert_conforms(str(model), golden=tmp_path / "golden", runtimes=["ort-cpu"])


@pytest.mark.parametrize("runtimes_asked", [["broken"], ["ort-cpu", "broken"]])
def test_a_runtime_that_is_named_must_be_available(shipped, monkeypatch, runtimes_asked):
    monkeypatch.setitem(runtimes.RUNTIMES, "broken", "gone:X")
    with pytest.raises(AssertionError, match="gone:X cannot be imported"):
        assert_conforms(shipped(), runtimes=runtimes_asked)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, tokens):
        return self.gru(self.embedding(tokens))[0]


@pytest.mark.slow
def test_a_live_model_is_exported_and_a_wrong_export_of_it_is_told(tmp_path):
    torch.manual_seed(1)
    model = Tagger().eval()
    options = {"inputs": "tokens: int64[batch, sequence] in 0..9", "lengths": "1..3"}
    options["runtimes"] = ["ort-cpu"]
    report = assert_conforms(model, output=tmp_path / "out", **options)
    assert report.summary["pass"] == report.summary["cells"] == 1
    assert report.comparisons > 3
    exported = onnx.load(tmp_path / "out/model.onnx")
    (gru,) = [node for node in exported.graph.node if node.op_type == "GRU"]
    (reset,) = [a for a in gru.attribute if a.name == "linear_before_reset"]
    reset.i = 0
    onnx.save(exported, tmp_path / "wrong.onnx")
    with pytest.raises(AssertionError) as caught:
        assert_conforms(model, onnx=tmp_path / "wrong.onnx", **options)
    message = str(caught.value)
    assert "x tolerance" in message
    assert "python -m harness" not in message


def test_what_cannot_be_used_is_no_failed_assertion(tmp_path):
    with pytest.raises(UsageError):
        assert_conforms(tmp_path)
    with pytest.raises(UsageError):
        assert_conforms("no_such_model_here")


def test_a_bundle_with_another_golden_is_refused(shipped):
    folder = shipped()
    manifest = folder / "golden/manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(UsageError, match=r"golden/manifest\.json is missing or altered"):
        assert_conforms(folder)


@pytest.mark.parametrize("runtimes", ["ort-cpu,openv*", ["ort-cpu,openvino"]])
def test_named_runtimes_must_be_here_however_they_are_named(shipped, monkeypatch, runtimes):
    monkeypatch.setitem(RUNTIMES, "openvino", "tests.support.planted:ABSENT")
    monkeypatch.delitem(RUNTIMES, "openvino-default", raising=False)
    with pytest.raises(AssertionError, match="does not conform"):
        assert_conforms(shipped(), runtimes=runtimes)


@pytest.mark.parametrize("options", [{"inputs": "x: int64"}, {"onnx": "m.onnx"}, {"lengths": [3]}])
def test_what_is_for_a_model_of_ones_own_is_refused_for_ours(options, tmp_path):
    with pytest.raises(UsageError, match="is for a model of your own; gru_tagger is ours"):
        harness.export("gru_tagger", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
