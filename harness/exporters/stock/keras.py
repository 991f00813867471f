"""Keras' own ``model.export(path, format="onnx")``."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import warnings
from typing import Any

import onnx

from harness.core.errors import ExportError
from harness.core.schema import Arrays, ModelSpec
from harness.core.temporary import temporary_folder
from harness.exporters.keras.signature import bind_inputs, tensor_specs
from harness.exporters.quiet import tf2onnx_errors
from harness.exporters.stock.quiet import tensorflow_message

UNNAMED = re.compile(r"Identity(_\d+)?:0")
"""What TensorFlow calls the outputs of a function that names none."""


def export(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """Export a Keras model at ``opset`` (18 at most); every named axis has an unknown size.

    ``example`` is not needed: the tool takes a signature. Outputs that the model gives without
    names, as anything but a dictionary, get those of the specification.
    """
    signature = _signature(model, spec)
    with (
        temporary_folder() as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        path = folder / "model.onnx"
        try:
            with tf2onnx_errors():
                model.export(
                    path,
                    format="onnx",
                    verbose=False,
                    input_signature=signature,
                    opset_version=opset,
                )
            proto = onnx.load(path)
        except Exception as error:
            raise ExportError(f"model.export: {tensorflow_message(error)}") from error
    if all(UNNAMED.fullmatch(value.name) for value in proto.graph.output):
        _rename(proto.graph, [t.name for t in spec.outputs])
    return proto


def _signature(model: Any, spec: ModelSpec) -> list[Any]:
    """Return the tensors that the model is called with, by position: it takes no others here."""
    positional, by_name = bind_inputs(model, spec.inputs, tensor_specs(spec.inputs))
    first = list(inspect.signature(model.call).parameters)[: len(by_name)]
    if set(first) != set(by_name):
        raise ExportError(
            f"model.export: it takes inputs by position; the model's first are {', '.join(first)},"
            f" the described ones {', '.join(by_name)}"
        )
    return positional or [by_name[name] for name in first]


def _rename(graph: onnx.GraphProto, names: list[str]) -> None:
    """Give the outputs of a graph, in their order, other names."""
    renamed = dict(zip((value.name for value in graph.output), names, strict=False))
    for value in graph.output:
        value.name = renamed.get(value.name, value.name)
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [renamed.get(name, name) for name in values]
