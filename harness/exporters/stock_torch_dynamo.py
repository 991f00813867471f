"""``torch.onnx.export(dynamo=True)``, PyTorch's default since 2.9."""

from __future__ import annotations

import contextlib
import io
import logging
import re
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
    axes = tuple({i: a for i, a in enumerate(t.axes) if isinstance(a, str)} for t in spec.inputs)
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
            program = torch.onnx.export(
                model.eval(),
                arguments,
                dynamo=True,
                dynamic_shapes=axes,
                input_names=[t.name for t in spec.inputs],
                output_names=[t.name for t in spec.outputs],
                opset_version=opset,
                verbose=False,
            )
            path = Path(folder) / "model.onnx"
            program.save(path)
            return onnx.load(path)
    except Exception as error:
        raise ExportError(f"torch.onnx.export: {_point(error)}") from error
    finally:
        logging.disable(logged)


def _point(error: BaseException, limit: int = 300) -> str:
    """The message of the error that the others were raised from, as one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    text = f"{type(error).__name__}: {text}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
