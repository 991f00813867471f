"""Every weight of a user's net is accounted for, on the way out and again from the bundle."""

import hashlib
import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import harness
from harness.core.errors import UsageError
from harness.core.results import Status
from harness.core.schema import Stage
from harness.exporting import bundle
from tests.support import ROOT

SIZES = {"lengths": [1, 5, 9], "batch": [1, 3], "runtimes": ["ort-cpu"]}
TOKENS = "tokens: int64[batch, time] in 0..39"
FRAMES = "x: float32[batch, time, 4]"


def torch_net():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(40, 6)
            self.conv = nn.Conv1d(6, 8, 3, padding=1)
            self.norm = nn.BatchNorm1d(8)
            self.lstm = nn.LSTM(8, 5, bidirectional=True, batch_first=True)
            self.out = nn.Linear(10, 3)
            self.spare = nn.Linear(2, 2)

        def forward(self, tokens):
            y = self.norm(self.conv(self.embed(tokens).transpose(1, 2))).relu()
            return self.out(self.lstm(y.transpose(1, 2))[0])

    torch.manual_seed(0)
    net = Mixed()
    net.norm.running_mean.normal_()
    net.norm.running_var.uniform_(0.5, 2)
    return net


def keras_net():
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    x = keras.Input((None, 4), name="x")
    y = keras.layers.GRU(5, return_sequences=True, bias_initializer="glorot_uniform")(x)
    y = keras.layers.Dense(6, activation="relu")(keras.layers.LayerNormalization()(y))
    return keras.Model(x, keras.layers.Dense(3, name="y")(y))


def account(report):
    (result,) = report.results
    return result.evidence["account"]


@pytest.mark.parametrize(
    ("make", "inputs", "exporter"),
    [
        (torch_net, TOKENS, "native"),
        (torch_net, TOKENS, "torch-script"),
        (keras_net, FRAMES, "native"),
        (keras_net, FRAMES, "tf2onnx"),
        (keras_net, FRAMES, "keras-export"),
    ],
    ids=["torch native", "torch stock", "keras native", "keras stock", "keras own"],
)
def test_every_weight_of_an_own_net_is_found(make, inputs, exporter, tmp_path):
    if exporter in ("tf2onnx", "keras-export"):
        pytest.importorskip("tf2onnx")
    folder = tmp_path / "net"
    report = harness.export(make(), folder, inputs=inputs, exporter=exporter, **SIZES)
    assert report.conforms, str(report)
    made = account(report)
    dead = (
        {"spare.weight", "spare.bias", "norm.num_batches_tracked"} if make is torch_net else set()
    )
    assert made["unproven"] == []
    assert made["unused"] == len(dead)
    assert made["copied"] + made["derived"] + made["unused"] == made["parameters"]
    assert "elements, to the bit" in (folder / "MODEL.md").read_text()
    assert account(harness.validate(folder, runtimes=["ort-cpu"])) == made


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped") / "net"
    assert harness.export(torch_net(), folder, inputs=TOKENS, **SIZES).conforms
    return folder


def altered(model, rows):
    """The model with one ulp more in the last element of the tensor that has so many rows."""
    (tensor,) = (t for t in model.graph.initializer if list(t.dims) == rows)
    value = numpy_helper.to_array(tensor).copy()
    value.flat[-1] = np.nextafter(value.flat[-1], np.float32(9))
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model


def test_a_tensor_that_is_scaled_a_little_is_told_though_others_are_unused(tmp_path):
    pytest.importorskip("torch")
    folder = tmp_path / "decoder"
    golden = ROOT / "golden/sequence_decoder/torch"
    named = {"framework": "torch", "runtimes": ["ort-cpu"]}
    assert harness.export("sequence_decoder", folder, **named).conforms
    model = onnx.load(folder / "model.onnx")
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 3)
    value = numpy_helper.to_array(tensor).astype(np.float64) * (1 + 1e-6)
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
    onnx.save(model, tmp_path / "scaled.onnx")
    (result,) = harness.validate(
        tmp_path / "scaled.onnx", golden=golden, runtimes=["ort-cpu"]
    ).results
    assert (result.status, result.stage) == (Status.FAIL, Stage.CHECK)
    assert "decoder_lstm." in result.reason
    assert " is altered at " in result.reason
    assert result.evidence["account"]["unused"] == 5


def rebound(folder, **hashes):
    path = folder / bundle.MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, **hashes}))


def test_one_ulp_in_a_bundle_whose_hashes_were_set_right_is_told(shipped):
    model = altered(onnx.load(shipped / bundle.MODEL), [40, 6]).SerializeToString()
    (shipped / bundle.MODEL).write_bytes(model)
    rebound(shipped, sha256=hashlib.sha256(model).hexdigest())
    (result,) = harness.validate(shipped, runtimes=["ort-cpu"]).results
    assert (result.status, result.stage) == (Status.FAIL, Stage.CHECK)
    assert result.reason.startswith("weights: embed.weight is altered: its SHA-256")
    rebound(shipped, account_sha256=None)
    (outputs_alone,) = harness.validate(shipped, runtimes=["ort-cpu"]).results
    assert outputs_alone.status is Status.PASS
    rebound(shipped, account_sha256="0" * 64)
    with pytest.raises(UsageError, match=r"account\.json is missing or altered"):
        harness.validate(shipped)


def test_one_ulp_in_the_file_of_another_exporter_is_told_with_its_place(tmp_path):
    net = torch_net()
    first = harness.export(net, tmp_path / "net", inputs=TOKENS, **SIZES)
    assert first.conforms
    theirs = tmp_path / "theirs.onnx"
    onnx.save(altered(onnx.load(tmp_path / "net" / bundle.MODEL), [2, 20, 5]), theirs)
    report = harness.export(net, tmp_path / "two", inputs=TOKENS, onnx=theirs, **SIZES)
    (result,) = report.results
    assert (result.status, result.stage) == (Status.FAIL, Stage.CHECK)
    assert "lstm.weight_hh_l0_reverse is altered at 1 of 100 elements in LSTM.R" in result.reason
    assert "first at [14, 4]" in result.reason
    assert not (tmp_path / "two" / bundle.MODEL).exists()
