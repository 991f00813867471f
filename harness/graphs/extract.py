"""A part of a graph as a model."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import onnx
from onnx import helper

from harness.core.schema import Arrays
from harness.graphs import walk
from harness.graphs.inference import declared_types
from harness.graphs.view import Net


def part(net: Net, nodes: Sequence[int], outputs: Sequence[str], values: Arrays) -> onnx.ModelProto:
    """Return some nodes and the constants that they read; all else that they read becomes inputs.

    ``values`` hold an example of every tensor, for the dtypes that inference does not give. Axes
    keep their names, so that what depends on a dynamic shape stays as it is.
    """
    numbers = sorted(set(nodes))
    reads = net.needs(numbers)
    makers = {net.maker[name] for name in reads if name in net.maker}
    constants = [i for i in sorted(makers) if net.nodes[i].op_type == "Constant"]
    types = declared_types(net.model)
    model = deepcopy(net.model)
    graph = model.graph
    initializers = [deepcopy(t) for t in graph.initializer if t.name in reads]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:], graph.initializer[:]
    graph.initializer.extend(initializers)
    graph.node.extend(net.nodes[i] for i in [*constants, *numbers])
    inner = {name for node in graph.node for name in node.output} | {t.name for t in initializers}
    graph.input.extend(_typed(name, types, values) for name in reads if name not in inner)
    graph.output.extend(_typed(name, types, values) for name in outputs)
    return model


def _typed(name: str, types: dict[str, onnx.ValueInfoProto], values: Arrays) -> onnx.ValueInfoProto:
    declared = types.get(name)
    if declared is not None and declared.type.tensor_type.elem_type:
        return declared
    value = values.get(name)
    if value is None:
        return onnx.ValueInfoProto(name=name)
    dtype = np.dtype(np.float32) if value.dtype == np.float64 else value.dtype
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    return helper.make_tensor_value_info(name, kind, [None] * value.ndim)


def fed(model: onnx.ModelProto, values: Arrays) -> Arrays:
    """Return the values of a model's inputs, each in the dtype that it declares."""
    feeds: Arrays = {}
    for value in walk.inputs(model.graph):
        kind = value.type.tensor_type.elem_type
        dtype = helper.tensor_dtype_to_np_dtype(kind) if kind else None
        feeds[value.name] = np.asarray(values[value.name], dtype)
    return feeds
