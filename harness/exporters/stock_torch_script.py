"""``torch.onnx.export(dynamo=False)``, the tracing exporter that came before."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
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
    try:
        with tempfile.TemporaryDirectory() as folder, _silence():
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


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No warnings, log lines, prints or lines from C++ on standard error."""
    logged = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with (
            open(os.devnull, "w") as sink,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(sink),
            contextlib.redirect_stderr(sink),
        ):
            warnings.simplefilter("ignore")
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        logging.disable(logged)


def _point(error: BaseException, limit: int = 300) -> str:
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
