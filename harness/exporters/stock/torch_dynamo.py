"""``torch.onnx.export(dynamo=True)``, PyTorch's default since 2.9."""

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
    axes = tuple({i: a for i, a in enumerate(t.axes) if isinstance(a, str)} for t in spec.inputs)
    _forget_kernels()
    try:
        with tempfile.TemporaryDirectory() as folder, silenced():
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
        raise ExportError(f"torch.onnx.export: {root_cause(error)}") from error


def _forget_kernels() -> None:
    """Have each export start as the first one in a process does.

    torch.onnx swaps the kernels of LSTM and GRU while it traces, but the dispatcher remembers the
    ones that an earlier trace left, and with those a dynamic length cannot be exported.
    """
    for operator in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
        getattr(operator, "_dispatch_cache", {}).clear()
