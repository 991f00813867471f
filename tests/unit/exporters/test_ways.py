"""Which ways are tried where the native exporter refuses a model."""

import pytest

from harness.exporters import ways

torch = pytest.importorskip("torch")
STOCK = ["torch-dynamo", "torch-script"]
KEPT = ["torch-dynamo with native recurrent nodes", "torch-script with native recurrent nodes"]


def test_recurrent_layers_are_kept_first_where_there_are_any():
    assert ways.of("torch", torch.nn.Linear(2, 2)) == STOCK
    assert ways.of("torch", torch.nn.Sequential(torch.nn.GRU(2, 2))) == [*KEPT, *STOCK]
    assert ways.of("torch", torch.jit.script(torch.nn.GRU(2, 2))) == STOCK
    assert ways.of("keras", None) == ["tf2onnx"]
    assert ways.of("onnx", None) == []


def test_a_way_is_the_code_of_its_stock_exporter_or_what_keeps_layers():
    assert [ways.exporter(way) for way in (*KEPT, *STOCK)] == [*STOCK, *STOCK]
    codes = [ways.code(way, "torch") for way in (*KEPT, *STOCK)]
    assert None not in codes
    assert len({*codes}) == 4
    assert ways.code(KEPT[0], "keras") is None
    assert ways.code("tf2onnx", "torch") is None
