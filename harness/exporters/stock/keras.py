"""Keras' own ``model.export(path, format="onnx")``."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx
import tensorflow as tf

from harness.core.errors import ExportError
from harness.core.schema import Arrays, ModelSpec
from harness.exporters.stock.quiet import tensorflow_message


def export(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """The Keras model at ``opset`` (18 at most); every named axis has an unknown size.

    ``example`` is not needed: the tool takes a signature.
    """
    signature = {
        t.name: tf.TensorSpec([a if isinstance(a, int) else None for a in t.axes], t.dtype, t.name)
        for t in spec.inputs
    }
    log = logging.getLogger("tf2onnx")
    before = log.level
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        import tf2onnx  # noqa: F401

        log.setLevel(logging.CRITICAL)
        path = Path(folder) / "model.onnx"
        try:
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
        finally:
            log.setLevel(before)
