"""PyTorch to ONNX with native recurrent nodes, at any length and batch.

A copy of the model is traced by ``torch.export`` while its recurrent layers emit ONNX nodes
(``torch_recurrent``), and converted by ``torch.onnx``. The size that the trace found for each axis
is held against the specification: an axis that is not what its name says is an error.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.utils import _pytree as pytree

from harness.errors import ExportError
from harness.exporters.onnx_finish import finish
from harness.exporters.torch_blame import conversion_error, trace_error
from harness.exporters.torch_packed import padded_packing
from harness.exporters.torch_recurrent import native_layers
from harness.schema import Arrays, ModelSpec

Program = torch.export.ExportedProgram


def export(model: nn.Module, spec: ModelSpec, example: Arrays, opset: int = 18) -> onnx.ModelProto:
    """``model`` in evaluation mode as ONNX at ``opset``; ``model`` itself is not changed.

    ``example`` holds an array for each input of ``spec``, in the order of ``forward``'s arguments;
    one that is missing is passed as None and is no input of the graph. ExportError names the
    module that cannot be exported exactly and the reason.
    """
    arguments = tuple(
        torch.from_numpy(np.array(example[t.name])) if t.name in example else None
        for t in spec.inputs
    )
    with _quiet():
        program = _trace(model, spec, arguments)
        spec = replace(spec, inputs=tuple(t for t in spec.inputs if t.name in example))
        order = _check_signature(program, spec, type(model).__name__)
        try:
            converted = torch.onnx.export(program, (), opset_version=18, verbose=False)
        except Exception as error:
            raise conversion_error(error, program) from error
    graph_model = converted.model_proto
    _tidy(graph_model, order)
    metadata = {
        "exporter": "native/torch",
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "model_class": f"{type(model).__module__}.{type(model).__qualname__}",
    }
    return finish(graph_model, spec, opset, metadata)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the banners, warnings and log lines of PyTorch's exporter off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _trace(model: nn.Module, spec: ModelSpec, arguments: tuple[Any, ...]) -> Program:
    name = type(model).__name__
    try:
        model = copy.deepcopy(model).cpu().eval()
    except Exception as error:
        raise ExportError(f"{name}: cannot be copied: {error}") from error
    names = sorted({a for t in spec.inputs for a in t.axes if isinstance(a, str)})
    sizes = {axis: torch.export.Dim(axis) for axis in names}
    shapes = tuple(
        None if value is None else {i: sizes[a] for i, a in enumerate(t.axes) if a in sizes}
        for t, value in zip(spec.inputs, arguments, strict=True)
    )
    try:
        with torch.no_grad(), padded_packing(), native_layers(model):
            return torch.export.export(model, arguments, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise trace_error(error, model) from error


def _check_signature(program: Program, spec: ModelSpec, name: str) -> list[int]:
    """The position in the graph's outputs of each output of ``spec``.

    ExportError where an axis of an output is not the size that its name stands for among the
    inputs, where the model changes its own state, or where it draws random numbers.
    """
    signature = program.graph_signature
    changed = {**signature.buffers_to_mutate, **signature.parameters_to_mutate}
    if changed:
        state = ", ".join(sorted(changed.values()))
        raise ExportError(f"{name}: {state} changes in forward; make it an input and an output")
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    sizes: dict[str, str] = {}
    for tensor, given in zip(spec.inputs, signature.user_inputs_of_tensors, strict=True):
        sizes |= {a: str(n) for a, n in zip(tensor.axes, values[given].shape) if isinstance(a, str)}
    return []
