"""Keras models beyond native layers alone: recurrences within others, stock exporters, fallback."""

import json
from collections import Counter

import onnx
import pytest

import harness
from harness.core.errors import UsageError
from tests.support.own_shipping import axes

keras = pytest.importorskip("keras")

from tests.support import own_keras  # noqa: E402

DOCUMENT = "document: int32[batch, sentences, words] in 0..19"
NATIVE = {
    "ConvLSTM": (own_keras.convolutional, None, {"Loop": 1, "LSTM": 1}),
    "masked ConvLSTM": (
        lambda: own_keras.convolutional(masked=True),
        "x: float32[batch, time, 6, 2], padding 0",
        {"Loop": 1},
    ),
    "dilated ConvLSTM": (
        lambda: own_keras.convolutional(dilation_rate=2),
        None,
        {"Loop": 1, "LSTM": 1},
    ),
    "ConvLSTM both ways": (
        lambda: own_keras.convolutional(keras.layers.Bidirectional),
        None,
        {"Loop": 2, "LSTM": 1},
    ),
    "ConvLSTM of images": (own_keras.images, None, {"Loop": 1}),
    "sentences in time": (own_keras.documents, DOCUMENT, {"LSTM": 1, "GRU": 1}),
    "attention in time": (lambda: own_keras.documents(True), DOCUMENT, {"GRU": 4}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NATIVE)
def test_recurrences_within_recurrences_are_native(ship, name):
    make, inputs, nodes = NATIVE[name]
    folder, _ = ship(make(), inputs, lengths=[1, 2, 5, 9], strict=True)
    graph = onnx.load(folder / "model.onnx").graph
    recurrent = [n.op_type for n in graph.node if n.op_type in ("LSTM", "GRU", "RNN", "Loop")]
    assert Counter(recurrent) == nodes


@pytest.mark.slow
def test_fourier_transforms_are_native(ship):
    folder, _ = ship(own_keras.transforms(), lengths=[1, 2, 5, 9], strict=True)
    graph = onnx.load(folder / "model.onnx").graph
    assert Counter(n.op_type for n in graph.node)["DFT"] == 8


STOCK = {
    "sequential": (own_keras.sequential, None, {"output": ["batch", 3]}),
    "custom layer": (own_keras.custom, None, {"scaled": ["batch", "sequence", 5]}),
    "subclassed": (
        own_keras.Tagger,
        "tokens: int32[batch, time] in 0..19, padding 0",
        {"tags": ["batch", "time", 3]},
    ),
    "a mask, dicts": (
        own_keras.masks,
        {"x": "[batch, time, 4], padding 0, right", "mask": "[batch, time], mask of time"},
        {"last": ["batch", 5]},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["tf2onnx", "keras-export"])
@pytest.mark.parametrize("name", STOCK)
def test_a_stock_exporter_takes_a_keras_model_of_ones_own(ship, name, exporter):
    make, inputs, expected = STOCK[name]
    folder, report = ship(make(), inputs, lengths=[1, 3, 9], exporter=exporter)
    for output, names in expected.items():
        assert axes(folder)[output] == names
    assert json.loads((folder / "manifest.json").read_text())["exporter"] == exporter
    assert report.comparisons >= 3


@pytest.mark.slow
def test_keras_models_fall_back_to_tf2onnx(ship, tmp_path):
    """Of a cell of one's own, the loop stays."""
    folder, _ = ship(own_keras.own_cell(), lengths=[1, 3, 9])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["exporter"] == "tf2onnx"
    place = "at tests/support/own_keras.py"
    assert f"layer 'own': cell OwnCell has no ONNX equivalent {place}" in manifest["instead"]
    with pytest.raises(UsageError, match="layer 'own': cell OwnCell"):
        harness.export(own_keras.own_cell(), tmp_path / "strict", lengths=[1, 3, 9], strict=True)
