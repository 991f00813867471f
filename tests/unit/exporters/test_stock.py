"""The stock exporters on one tiny model in each framework."""

import logging
import os
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from harness.core.errors import CheckError, ExportError
from harness.core.schema import Array, Arrays, ModelSpec, TensorSpec
from harness.exporters import EXPORTERS
from harness.frameworks import FRAMEWORKS
from harness.graphs import interface
from harness.graphs.example import example_inputs, sizes_of, weight_sizes
from harness.runtimes.ort import CPU

UNITS = 4
SPEC = ModelSpec(
    name="tiny",
    summary="an LSTM over all steps, and twice its state plus an input",
    inputs=(
        TensorSpec("z_features", "float32", ("batch", "sequence", 3)),
        TensorSpec("a_offset", "float32", ("batch", UNITS)),
    ),
    outputs=(
        TensorSpec("z_last", "float32", ("batch", UNITS)),
        TensorSpec("a_steps", "float32", ("batch", "sequence", UNITS)),
    ),
    weights="tiny",
)
OPSET = 18
BAKED = "output 'a_steps' axis 1 is 7, expected 'sequence': the example length is baked in"
"""What torch.onnx declares today: https://github.com/pytorch/pytorch/issues/191855"""
OWN_CACHES = ("__autograph_generated_file", "torchinductor_")


def keras_model(name: str) -> Any:
    import keras

    features = keras.Input((None, 3), name="z_features")
    offset = keras.Input((UNITS,), name="a_offset")
    lstm = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True, name="lstm")
    steps, h, _ = lstm(keras.layers.Dropout(0.5)(features))
    last = keras.layers.Add(name="sum")([h, offset])
    return keras.Model(
        {"z_features": features, "a_offset": offset}, {"z_last": last, "a_steps": steps}, name=name
    )


def torch_model(_: str) -> Any:
    import torch

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = torch.nn.Dropout(0.5)
            self.lstm = torch.nn.LSTM(3, UNITS, batch_first=True)

        def forward(self, features: Any, offset: Any) -> Any:
            steps, (h, _) = self.lstm(self.dropout(features))
            return h[0] + offset, steps

    return Tiny()


def build(framework: str) -> tuple[ModuleType, Any]:
    adapter = import_module(FRAMEWORKS[framework])
    twin = ModuleType("twin")
    twin.build = keras_model if framework == "keras" else torch_model  # type: ignore[attr-defined]
    return adapter, adapter.build(twin, SPEC, None)


def export(exporter: str, model: Any, example: Arrays, opset: int = OPSET) -> onnx.ModelProto:
    module, _, attribute = EXPORTERS[exporter].partition(":")
    proto = getattr(import_module(module), attribute)(model, SPEC, example, opset)
    assert isinstance(proto, onnx.ModelProto)
    return proto


def inputs(batch: int, steps: int) -> dict[str, Array]:
    rng = np.random.default_rng(batch * 1000 + steps)
    shapes = {t.name: t.shape(batch, {"sequence": steps}) for t in SPEC.inputs}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def refusal(model: onnx.ModelProto, sizes: dict[str, int]) -> str:
    """Why ``harness.graphs.interface.check`` refuses the model; empty where it does not."""
    try:
        interface.check(model, SPEC, sizes)
    except CheckError as error:
        return str(error)
    return ""


def run(exporter: str, adapter: ModuleType, model: Any, inputs: Arrays) -> Arrays:
    """The framework's own outputs, eager in both."""
    if exporter.endswith("/torch"):
        return dict(adapter.run(model, SPEC, inputs))
    return {name: np.asarray(value) for name, value in model(inputs, training=False).items()}


STOCK = sorted(name for name in EXPORTERS if not name.startswith("native/"))


@pytest.mark.parametrize("exporter", STOCK)
def test_a_simple_model_conforms_and_nothing_is_said_or_left(
    exporter: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapter, model = build(exporter.split("/")[1])
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    here.mkdir()
    scratch.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    example = example_inputs(SPEC, weight_sizes(adapter.parameters(model)))
    capfd.readouterr()
    caplog.clear()
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        proto = export(exporter, model, example)
    assert [str(w.message) for w in warned] == []
    assert tuple(capfd.readouterr()) == ("", "")
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert os.listdir(here) == []
    assert [n for n in os.listdir(scratch) if not n.startswith(OWN_CACHES)] == []
    assert logging.root.manager.disable == disabled

    assert [o.version for o in proto.opset_import if o.domain == ""] == [OPSET]
    assert not any(t.data_location for t in proto.graph.initializer), "weights left outside"
    named = interface.name_axes(proto, SPEC)
    reason = refusal(named, sizes_of(SPEC, example))
    assert reason in ("", BAKED if exporter == "torch-dynamo/torch" else "")
    path = tmp_path / "model.onnx"
    onnx.save(named, path)
    session = CPU.prepare(str(path))
    for batch, steps in ((3, 9), (1, 1), (2, 40), (3, 9)):
        values = inputs(batch, steps)
        expected = run(exporter, adapter, model, values)
        for name, value in session.run(values):
            np.testing.assert_allclose(value, expected[name], atol=1e-6, rtol=0, err_msg=name)


@pytest.mark.parametrize("kind", ["functional", "subclassed"])
@pytest.mark.parametrize("exporter", [name for name in STOCK if name.endswith("/keras")])
def test_a_keras_model_whose_outputs_have_no_names_conforms(
    exporter: str, kind: str, tmp_path: Path
) -> None:
    import keras

    lstm = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True)

    def outputs(z_features: Any, a_offset: Any) -> list[Any]:
        steps, h, _ = lstm(z_features)
        return [h + a_offset, steps]

    class Subclassed(keras.Model):  # type: ignore[misc]
        def call(self, z_features: Any, a_offset: Any) -> list[Any]:
            return outputs(z_features, a_offset)

    if kind == "functional":
        tensors = [
            keras.Input((None, 3), name="z_features"),
            keras.Input((UNITS,), name="a_offset"),
        ]
        model = keras.Model(tensors, outputs(*tensors))
    else:
        model = Subclassed()
    values = inputs(3, 9)
    arguments = [[*values.values()]] if kind == "functional" else values.values()
    expected = [np.asarray(value) for value in model(*arguments)]
    proto = export(exporter, model, example_inputs(SPEC))
    path = tmp_path / "model.onnx"
    onnx.save(interface.name_axes(proto, SPEC), path)
    actual = dict(CPU.prepare(str(path)).run(values))
    for tensor, value in zip(SPEC.outputs, expected, strict=True):
        np.testing.assert_allclose(actual[tensor.name], value, atol=1e-6, rtol=0)


def test_dynamo_exports_a_second_model_as_it_does_the_first() -> None:
    """The dispatcher's memory of an earlier trace would make the length static."""
    adapter, model = build("torch")
    example = example_inputs(SPEC, weight_sizes(adapter.parameters(model)))
    first, second = (export("torch-dynamo/torch", model, example) for _ in range(2))
    assert [n.op_type for n in first.graph.node] == [n.op_type for n in second.graph.node]
    assert "LSTM" in [n.op_type for n in second.graph.node]


@pytest.mark.parametrize("exporter", [name for name in STOCK if name.endswith("/torch")])
def test_what_torch_cannot_export_is_told_in_one_line(exporter: str) -> None:
    import torch

    class Unexportable(torch.nn.Module):
        def forward(self, features: Any, offset: Any) -> Any:
            raise NotImplementedError("this step\nhas no translation")

    with pytest.raises(ExportError) as caught:
        export(exporter, Unexportable(), example_inputs(SPEC))
    assert "this step has no translation" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("exporter", [name for name in STOCK if name.endswith("/keras")])
def test_what_keras_cannot_export_is_told_in_one_line(exporter: str) -> None:
    import keras

    built = []

    class Refused(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            if built:
                raise NotImplementedError("this layer has no translation")
            return x

    features, offset = (
        keras.Input((None, 3), name="z_features"),
        keras.Input((UNITS,), name="a_offset"),
    )
    last = Refused(name="refused")(offset)
    model = keras.Model(
        {"z_features": features, "a_offset": offset}, {"z_last": last, "a_steps": features}
    )
    built.append(model)
    with pytest.raises(ExportError) as caught:
        export(exporter, model, example_inputs(SPEC))
    assert "this layer has no translation" in str(caught.value)
    assert "\n" not in str(caught.value)
