"""PyTorch to ONNX with native recurrent nodes, at any length and batch.

A copy of the model is traced by ``torch.export`` while its recurrent layers emit ONNX nodes
(``native_layers``), and converted by ``torch.onnx``. The size of each axis in the trace is compared
with the specification: an axis that is not what its name says is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from harness.core.errors import ExportError
from harness.core.places import chain
from harness.core.schema import Arrays, ModelSpec
from harness.exporters import BRANCHED
from harness.exporters.finish import finish
from harness.exporters.quiet import silenced
from harness.exporters.torch.axes import texts_of
from harness.exporters.torch.blame import (
    check_written,
    conversion_error,
    module_of,
    place_of,
)
from harness.exporters.torch.layers import name_layers
from harness.exporters.torch.registry import one_registry
from harness.exporters.torch.rolled.confirmed import lengthened
from harness.exporters.torch.rows import read_rows
from harness.exporters.torch.single import branched
from harness.exporters.torch.sizes import SizeOneError
from harness.exporters.torch.tracing import looped, trace
from harness.exporters.torch.weights import free


def export(model: nn.Module, spec: ModelSpec, example: Arrays, opset: int = 18) -> onnx.ModelProto:
    """Export a copy of ``model`` in evaluation mode at ``opset``.

    ``example`` holds an array for each input of ``spec``, in the order of ``forward``'s arguments;
    one that is missing is passed as None and is no input of the graph. ExportError names the
    module that cannot be exported exactly and the reason.
    """
    with silenced():
        try:
            return _converted(trace(model, spec, example), model, spec, example, opset, False)
        except ExportError as error:
            if any(isinstance(cause, SizeOneError) for cause in chain(error)):
                with suppress(Exception):
                    program = branched(model, spec, example)
                    made = _converted(program, model, spec, example, opset, False)
                    made.metadata_props.add(key=BRANCHED, value=str(error))
                    return made
                raise
            for program_of, scanned in _other_ways(model, spec, example):
                with suppress(Exception):  # the first error is the one to tell
                    return _converted(program_of(), model, spec, example, opset, scanned)
            if scripted := _scripted(model):
                raise ExportError(
                    f"{scripted} is TorchScript, which cannot be traced again; give the module that"
                    " it was made of, or --exporter torch-script"
                ) from None
            raise


def _other_ways(
    model: nn.Module, spec: ModelSpec, example: Arrays
) -> Iterator[tuple[Callable[[], torch.export.ExportedProgram], bool]]:
    """Yield what traces a model that could not be, and whether its loops become scans.

    The last is the first way, at sizes that other numbers of the model are not.
    """
    yield partial(looped, model, spec, example), True
    for longer in islice(lengthened(spec, example), 1):
        yield partial(trace, model, spec, longer), False


def _scripted(model: nn.Module) -> str:
    """Return the path, or the class, of the first module that is TorchScript; empty for none."""
    parts = model.named_modules()
    found = (name or type(m).__name__ for name, m in parts if isinstance(m, torch.jit.ScriptModule))
    return next(found, "")


def _converted(
    program: torch.export.ExportedProgram,
    model: nn.Module,
    spec: ModelSpec,
    example: Arrays,
    opset: int,
    scanned: bool,
) -> onnx.ModelProto:
    """Return a program as ONNX; one that was ``scanned`` may hold scans."""
    name = type(model).__name__
    spec = replace(spec, inputs=tuple(t for t in spec.inputs if t.name in example))
    _check(program, spec, name, scanned)
    read_rows(program)
    try:
        with torch.no_grad(), one_registry():
            converted = torch.onnx.export(program, (), opset_version=18, verbose=False).model
    except Exception as error:
        raise conversion_error(error, name) from error
    check_written(converted, name, {"Scan"} if scanned else set())
    metadata = {
        "exporter": "native/torch",
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "model_class": f"{type(model).__module__}.{type(model).__qualname__}",
    }
    proto = _tidy(converted)
    free(program, model)
    return finish(proto, spec, opset, metadata, scanned)


def _check(
    program: torch.export.ExportedProgram, spec: ModelSpec, name: str, scanned: bool
) -> None:
    """Raise ExportError where an output's axis has another size than its name among the inputs."""
    for node in program.graph.nodes:
        _check_node(node, name, scanned)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    sizes: dict[str, str] = {}
    taken: dict[str, list[Any]] = {}
    for tensor, node in zip(spec.inputs, program.graph_signature.user_inputs, strict=True):
        for axis, size in zip(tensor.axes, values[node].shape, strict=True):
            sizes.setdefault(str(axis), str(size))
            taken.setdefault(str(axis), []).append(size)
    for tensor, node in zip(spec.outputs, program.graph_signature.user_outputs, strict=True):
        value = values[node]
        actual = texts_of(value.shape, taken, spec.rules)
        names = {size: axis for axis, size in sizes.items()}
        for axis, size, text in zip(tensor.axes, value.shape, actual, strict=False):
            if isinstance(axis, str) and not isinstance(size, int):
                sizes.setdefault(axis, text)
        expected = [sizes.get(axis) if isinstance(axis, str) else str(axis) for axis in tensor.axes]
        dtype = str(value.dtype).removeprefix("torch.")
        if actual != expected or dtype != tensor.dtype:
            shape = ", ".join(names.get(n, n if n.isdecimal() else "?") for n in actual)
            raise ExportError(
                f"output {tensor.name!r}: expected {tensor.dtype} "
                f"[{', '.join(map(str, tensor.axes))}], the model gives {dtype} [{shape}]; give an"
                " axis that is as long as an input's the size of that, as by y.reshape(x.shape)"
            )


_CONTROL_FLOW = {"cond", "while_loop", "scan", "associative_scan", "map_impl"}


def _check_node(node: torch.fx.Node, root: str, scanned: bool) -> None:
    """Raise ExportError where a node draws random numbers, branches, or drops axes of size 1."""
    target = node.target
    where = module_of(node) or root
    if isinstance(target, torch._ops.HigherOrderOperator) and target.name() in _CONTROL_FLOW:
        if scanned and target.name() == "scan":
            return
        raise ExportError(
            f"{where}: {target.name()} is control flow, which no native node has{place_of(node)};"
            " --exporter torch-dynamo may write it as an If or a Loop"
        )
    if not isinstance(target, torch._ops.OpOverload):
        return
    off = "dropout" in target.name() and False in node.args
    if target is torch.ops.aten.scaled_dot_product_attention.default:
        dropout = node.args[4] if len(node.args) > 4 else node.kwargs.get("dropout_p", 0.0)
        off = dropout == 0.0
    if torch.Tag.nondeterministic_seeded in target.tags and not off:
        raise ExportError(
            f"{where}: {target.name()} draws random numbers in evaluation mode{place_of(node)};"
            " make what is drawn an input"
        )
    if target is torch.ops.aten.squeeze.default:
        raise ExportError(
            f"{where}: squeeze() without an axis drops any axis that has size 1{place_of(node)};"
            " name the axis, as in squeeze(1)"
        )


def _tidy(model: ir.Model) -> onnx.ModelProto:
    """Return a converted model with the module's names and without metadata of its conversion.

    The converted model loses its weights.
    """
    ClearMetadataAndDocStringPass()(model)
    graph = model.graph
    weights = list(graph.initializers.values())
    for value in (*weights, *graph.inputs, *graph.outputs):
        value.metadata_props.clear()
    for weight in weights:
        weight.name = str(weight.name).removeprefix("model.")
    proto = ir.serde.serialize_model(model)
    name_layers(proto.graph)
    for weight in weights:
        weight.const_value = None
    return proto
