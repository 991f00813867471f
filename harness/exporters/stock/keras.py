"""Keras' own ``model.export(path, format="onnx")``."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx

from harness.core.errors import ExportError
from harness.core.schema import Arrays, ModelSpec
from harness.exporters.keras.signature import tensor_specs
from harness.exporters.quiet import tf2onnx_errors
from harness.exporters.stock.quiet import tensorflow_message


def export(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """Export a Keras model at ``opset`` (18 at most); every named axis has an unknown size.

    ``example`` is not needed: the tool takes a signature.
    """
    signature = {tensor.name: tensor for tensor in tensor_specs(spec.inputs)}
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        try:
            with tf2onnx_errors():
                model.export(
                    path,
                    format="onnx",
                    verbose=False,
                    input_signature=[signature],
                    opset_version=opset,
                )
            return onnx.load(path)
        except Exception as error:
            raise ExportError(f"model.export: {tensorflow_message(error)}") from error
