"""The last step of every native export: the specification's names, the opset, and the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, version_converter

from harness.core.errors import ExportError, one_line
from harness.core.schema import ModelSpec, TensorSpec
from harness.exporters import OPSETS
from harness.graphs.inference import dims_of, inferred
from harness.graphs.light import fed
from harness.graphs.recurrent import is_recurrent
from harness.graphs.walk import MAIN, bodies, trimmed, used

CONTROL_FLOW = {"Loop", "Scan", "If"}
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomUniform"}
RANDOM |= {"RandomNormalLike", "RandomUniformLike"}


def finish(
    model: ModelProto,
    spec: ModelSpec,
    opset: int,
    metadata: Mapping[str, str],
    scanned: bool = False,
) -> ModelProto:
    """Return ``model`` at ``opset`` with the names and axes of ``spec``, checked.

    The graph's inputs and outputs are in the order of ``spec``. ExportError where a declared
    dtype, rank or fixed size is not what the graph computes, or where it holds control flow,
    but for a Scan or a Loop of a model that was ``scanned``.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset}: expected {OPSETS[0]} to {OPSETS[-1]}")
    _refuse(model.graph.node, {"Loop", "Scan"} if scanned else set())
    graph = model.graph
    _expect_count(spec, "input", spec.inputs, graph.input)
    _expect_count(spec, "output", spec.outputs, graph.output)
    drop_unused(model)
    if opset != 18:
        model = version_converter.convert_version(model, opset)
    graph = model.graph
    _rename(model, spec)
    del graph.value_info[:]
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    graph.name = spec.name
    model.producer_name, model.producer_version, model.doc_string = "onnx-sequence-harness", "", ""
    graph.doc_string = ""
    for value, tensor in zip(graph.input, spec.inputs, strict=True):
        value.CopyFrom(_declared(tensor))
    _declare_outputs(model, spec)
    helper.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(fed(model), full_check=True)
    except Exception as error:
        raise ExportError(f"the graph does not pass ONNX's check: {one_line(error)}") from error
    return model


def _refuse(nodes: Iterable[NodeProto], allowed: set[str]) -> None:
    for node in nodes:
        if node.op_type in CONTROL_FLOW - allowed:
            raise ExportError(f"{node.name}: needs {node.op_type}, which is no native node")
        if node.op_type in RANDOM:
            raise ExportError(f"{node.name}: draws random numbers at inference")
        if node.domain not in MAIN:
            raise ExportError(f"{node.name}: {node.domain}.{node.op_type} is not an ONNX op")


def _expect_count(
    spec: ModelSpec,
    kind: str,
    tensors: Sequence[TensorSpec],
    values: Sequence[onnx.ValueInfoProto],
) -> None:
    if len(tensors) != len(values):
        names = ", ".join(t.name for t in tensors)
        raise ExportError(
            f"model {spec.name!r}: its specification has {len(tensors)} {kind}s ({names}), "
            f"the model {len(values)}"
        )


def drop_unused(model: ModelProto) -> None:
    """Leave out the last outputs of recurrent nodes where nothing reads them.

    An unused output before another gets a name: onnx.reference takes the value of one without for
    every optional input that is missing.
    """
    read = used(model.graph)
    for number, node in enumerate(model.graph.node):
        if is_recurrent(node):
            names = trimmed(name if name in read else "" for name in node.output)
            node.output[:] = [name or f"unused_{number}_{i}" for i, name in enumerate(names)]
            node.input[:] = trimmed(node.input)


def _rename(model: ModelProto, spec: ModelSpec) -> None:
    """Give graph inputs and outputs their names, and other values with these names new ones."""
    graph = model.graph
    public: dict[str, str] = {}
    for values, tensors in ((graph.input, spec.inputs), (graph.output, spec.outputs)):
        public |= {v.name: t.name for v, t in zip(values, tensors, strict=True)}
    used_names = set(public.values())

    def new(name: str) -> str:
        return public.get(name, f"{name}/inner" if name in used_names else name)

    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = new(value.name)
    _rename_nodes(graph, new)


def _rename_nodes(graph: onnx.GraphProto, new: Callable[[str], str]) -> None:
    for node in graph.node:
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
        for body in bodies(node):
            _rename_nodes(body, new)


def _declared(tensor: TensorSpec) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, dtype, list(tensor.axes))


def _declare_outputs(model: ModelProto, spec: ModelSpec) -> None:
    """Declare the outputs as the specification does; ExportError where inference contradicts it."""
    try:
        outputs = inferred(model).graph.output
    except Exception as error:
        raise ExportError(f"ONNX cannot infer the graph's shapes: {one_line(error)}") from error
    del model.graph.output[:]
    names = {axis for tensor in spec.inputs for axis in tensor.axes if isinstance(axis, str)}
    for value, tensor in zip(outputs, spec.outputs, strict=True):
        declared = _declared(tensor)
        _compare(value.type, declared.type.tensor_type.elem_type, tensor, names)
        model.graph.output.append(declared)


def _compare(inferred: Any, declared: int, tensor: TensorSpec, names: set[str]) -> None:
    """Raise ExportError where an output's inferred type contradicts the specification."""
    dims = dims_of(inferred)
    shape = [dim if isinstance(dim, int) or dim in names else None for dim in dims or ()]
    fits = dims is None or (
        len(shape) == len(tensor.axes)
        and all(dim in (None, axis) for dim, axis in zip(shape, tensor.axes, strict=True))
    )
    element = inferred.tensor_type.elem_type
    if element != declared or not fits:
        dtype = helper.tensor_dtype_to_np_dtype(element)
        raise ExportError(
            f"output {tensor.name!r}: expected {tensor.dtype} {list(tensor.axes)}, "
            f"the graph gives {dtype} {shape}"
        )
