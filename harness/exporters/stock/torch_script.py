"""``torch.onnx.export(dynamo=False)``, the tracing exporter that came before."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from harness.core.errors import ExportError
from harness.core.schema import Arrays, ModelSpec
from harness.exporters.stock.quiet import root_cause, silenced


def export(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """The module in evaluation mode, traced on ``example``; every named axis dynamic by name."""
    arguments = tuple(torch.from_numpy(np.array(example[t.name])) for t in spec.inputs)
    axes = {
        t.name: {i: a for i, a in enumerate(t.axes) if isinstance(a, str)}
        for t in spec.inputs + spec.outputs
    }
    try:
        with tempfile.TemporaryDirectory() as folder, silenced():
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
        raise ExportError(f"torch.onnx.export: {root_cause(error)}") from error
