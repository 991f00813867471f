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

from harness.errors import ExportError
from harness.schema import Arrays, ModelSpec


def export(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """The Keras model at ``opset``, with the dynamic axes that its inputs were built with.

    ``spec`` and ``example`` are not needed: the tool reads the model's own inputs.
    """
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
            model.export(path, format="onnx", verbose=False, opset_version=opset)
            return onnx.load(path)
        except Exception as error:
            raise ExportError(f"model.export: {_point(error)}") from error
        finally:
            log.setLevel(before)


def _point(error: BaseException, limit: int = 300) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
