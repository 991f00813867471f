"""``torch.onnx.export(dynamo=False)``, the tracing exporter that came before."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from harness.errors import ExportError
from harness.schema import Arrays, ModelSpec


def export(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """The module in evaluation mode, traced on ``example``; every named axis dynamic by name."""
    arguments = tuple(torch.from_numpy(np.array(example[t.name])) for t in spec.inputs)
    axes = {
        t.name: {i: a for i, a in enumerate(t.axes) if isinstance(a, str)}
        for t in spec.inputs + spec.outputs
    }
    logged = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            path = Path(folder) / "model.onnx"
            torch.onnx.export(
                model.eval(),
                arguments,
                path,
                dynamo=False,
                training=torch.onnx.TrainingMode.EVAL,
                dynamic_axes=axes,
                input_names=[t.name for t in spec.inputs],
                output_names=[t.name for t in spec.outputs],
                opset_version=opset,
            )
            return onnx.load(path)
    except Exception as error:
        raise ExportError(f"torch.onnx.export: {_point(error)}") from error
    finally:
        logging.disable(logged)


def _point(error: BaseException, limit: int = 300) -> str:
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
