"""``torch.onnx.export``: PyTorch's default (``dynamo``) and TorchScript's, which it replaced."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch

from harness.core.errors import ExportError
from harness.core.places import chain
from harness.core.schema import Arrays, ModelSpec
from harness.core.temporary import temporary_folder
from harness.exporters.stock.quiet import without_stderr
from harness.exporters.torch.axes import dynamic
from harness.exporters.torch.blame import conversion_error, trace_error
from harness.exporters.torch.guards import Guard, watched


def dynamo(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """Export by ``torch.export``; every named axis is dynamic, within its rule where it has one."""
    # torch.onnx swaps the kernels of LSTM and GRU while it traces, but the dispatcher remembers
    # those that an earlier trace left, with which a dynamic length cannot be exported.
    for operator in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
        getattr(operator, "_dispatch_cache", {}).clear()
    shapes: tuple[dict[int, Any], ...] = tuple(
        {i: a for i, a in enumerate(t.axes) if isinstance(a, str)} for t in spec.inputs
    )
    if spec.rules:
        shapes = dynamic(spec.inputs, {}, {}, spec.rules)
    return _export(model, spec, example, opset, dynamo=True, dynamic_shapes=shapes, verbose=False)


def script(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """Export by a TorchScript trace; every named axis is dynamic, by its name.

    TorchScript knows of no rules of axes: an axis that follows from another is one of its own.
    """
    axes = {
        t.name: {i: a for i, a in enumerate(t.axes) if isinstance(a, str)}
        for t in spec.inputs + spec.outputs
    }
    training = torch.onnx.TrainingMode.EVAL
    torch._C._jit_set_onnx_log_output_stream("stderr")  # a failed export writes its whole graph
    return _export(model, spec, example, opset, dynamo=False, dynamic_axes=axes, training=training)


def _export(
    model: Any, spec: ModelSpec, example: Arrays, opset: int, *, dynamo: bool, **options: Any
) -> onnx.ModelProto:
    """Export a module in evaluation mode, traced on ``example``."""
    arguments = tuple(torch.from_numpy(np.array(example[t.name])) for t in spec.inputs)
    guards: list[Guard] = []
    try:
        with temporary_folder() as folder, without_stderr(), watched(guards):
            path = folder / "model.onnx"
            program = torch.onnx.export(
                model.eval(),
                arguments,
                None if dynamo else path,
                dynamo=dynamo,
                input_names=[t.name for t in spec.inputs],
                output_names=[t.name for t in spec.outputs],
                opset_version=opset,
                **options,
            )
            if program is not None:
                program.save(path)
            return onnx.load(path)
    except Exception as error:
        raise _blamed(error, model, spec, guards) from error


def _blamed(error: Exception, model: Any, spec: ModelSpec, guards: list[Guard]) -> ExportError:
    root = type(model).__name__
    text = "\n".join(str(cause) for cause in chain(error))
    if "No ONNX function found" in text or "to ONNX opset version" in text:
        return conversion_error(error, root)
    names = {id(model): root} | {id(m): name for name, m in model.named_modules() if name}
    return trace_error(error, names, {}, guards, spec.inputs)
