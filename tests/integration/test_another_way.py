"""A stock exporter's model that is rejected makes room for the next one's."""

import json

import numpy as np
import pytest
from onnx import numpy_helper

import harness
from harness.core.errors import ExportError
from harness.exporters import BRANCHED, EXPORTERS, ways
from harness.exporters.stock import torch_export

torch = pytest.importorskip("torch")

MODEL = {"inputs": "input: float32[batch, time, 4]", "lengths": [1, 2, 5], "batch": [1, 3]}


def refuses(model, spec, example, opset):
    raise ExportError("Linear: no way of its own")


def nearly(model, spec, example, opset):
    exported = torch_export.script(model, spec, example, opset)
    for initializer in exported.graph.initializer:
        value = numpy_helper.to_array(initializer) * np.float32(1 + 1e-5)
        initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))
    return exported


@pytest.fixture
def refused(monkeypatch):
    monkeypatch.setitem(EXPORTERS, "native/torch", f"{__name__}:refuses")
    monkeypatch.setitem(EXPORTERS, "torch-dynamo/torch", f"{__name__}:nearly")
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


def test_the_next_way_is_tried_where_a_model_is_rejected(refused, tmp_path):
    assert harness.export(refused, tmp_path / "bundle", **MODEL).conforms
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert manifest["exporter"] == "torch-script"
    assert manifest["instead"].startswith("Linear: no way of its own; torch-dynamo: rejected: weig")


def test_the_first_rejected_model_is_shown_where_none_conforms(refused, tmp_path, monkeypatch):
    monkeypatch.setitem(EXPORTERS, "torch-script/torch", f"{__name__}:refuses")
    report = harness.export(refused, tmp_path / "bundle", **MODEL)
    assert [result.cell.exporter for result in report.results] == ["torch-dynamo"]
    assert not report.conforms
    assert (tmp_path / "bundle/rejected.onnx").is_file()


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.GRU(4, 3, batch_first=True)

    def forward(self, input):
        return self.layer(input)[0]


def test_the_stock_exporters_are_tried_where_native_nodes_are_rejected(monkeypatch, tmp_path):
    monkeypatch.setitem(EXPORTERS, "native/torch", f"{__name__}:refuses")
    monkeypatch.setitem(ways.KEPT, f"torch-dynamo{ways.KEEPING}/torch", f"{__name__}:nearly")
    monkeypatch.setitem(ways.KEPT, f"torch-script{ways.KEEPING}/torch", f"{__name__}:refuses")
    assert harness.export(Recurrent(), tmp_path / "bundle", **MODEL).conforms
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert manifest["exporter"] in ("torch-dynamo", "torch-script")
    assert "recurrent_nodes" not in manifest
    kept = "torch-dynamo with native recurrent nodes: rejected: weig"
    assert manifest["instead"].startswith(f"Linear: no way of its own; {kept}")


def one_sided(model, spec, example, opset):
    """Half of what the model gives, by the side of a branch that is taken at longer sizes."""
    exported = torch_export.script(model, spec, example, opset)
    for initializer in exported.graph.initializer:
        value = numpy_helper.to_array(initializer) / np.float32(2)
        initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))
    exported.metadata_props.add(key=BRANCHED, value="Linear: a branch; do the same")
    return exported


@pytest.mark.parametrize("strict", [False, True])
def test_a_native_model_of_one_side_of_a_branch_makes_room_where_it_is_wrong(
    refused, tmp_path, monkeypatch, strict
):
    monkeypatch.setitem(EXPORTERS, "native/torch", f"{__name__}:one_sided")
    report = harness.export(refused, tmp_path / "bundle", strict=strict, **MODEL)
    assert report.conforms is not strict
    if not strict:
        manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
        assert manifest["exporter"] == "torch-script"
        assert manifest["instead"].startswith("Linear: a branch; do the same; torch-dynamo: reject")
