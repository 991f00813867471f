"""A part of a graph as a model of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from harness.core.schema import Array, Arrays
from harness.graphs.inference import declared_types
from harness.graphs.view import Net, copied


def part(net: Net, nodes: Sequence[int], outputs: Sequence[str], values: Arrays) -> onnx.ModelProto:
    """Some nodes and the constants that they read; what else they read becomes inputs.

    ``values`` hold an example of every tensor, for the dtypes that inference does not tell. Axes
    keep their names, so that what depends on a dynamic shape stays as it is.
    """
    chosen = sorted(set(nodes))
    made = {name for i in chosen for name in net.nodes[i].output}
    reads = list(dict.fromkeys(name for i in chosen for name in net.reads(i)))
    known = declared_types(net.model)
    cut = copied(net.model)
    graph = cut.graph
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    stored = [t for t in graph.initializer if t.name in reads]
    names = {t.name for t in stored}
    held = [i for i in range(len(net.nodes)) if net.nodes[i].op_type == "Constant"]
    held = [i for i in held if net.nodes[i].output[0] in reads and i not in chosen]
    made |= {net.nodes[i].output[0] for i in held}
    graph.node.extend(net.nodes[i] for i in [*held, *chosen])
    for name in reads:
        if name not in made | names:
            graph.input.append(_typed(name, known, values))
    graph.output.extend(_typed(name, known, values) for name in outputs)
    kept = [_copy(tensor) for tensor in stored]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return cut


def _copy(tensor: onnx.TensorProto) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    return copy


def _typed(name: str, known: dict[str, onnx.ValueInfoProto], values: Arrays) -> onnx.ValueInfoProto:
    declared = known.get(name)
    if declared is not None and declared.type.tensor_type.elem_type:
        return declared
    value = values.get(name)
    if value is None:
        return onnx.ValueInfoProto(name=name)
    dtype = np.dtype(np.float32) if value.dtype == np.float64 else value.dtype
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    return helper.make_tensor_value_info(name, kind, [None] * value.ndim)


def fed(model: onnx.ModelProto, values: Arrays) -> Arrays:
    """What a model takes of ``values``, each in the dtype that it declares."""
    stored = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, Array] = {}
    for value in model.graph.input:
        if value.name not in stored:
            kind = value.type.tensor_type.elem_type
            dtype = helper.tensor_dtype_to_np_dtype(kind) if kind else None
            found[value.name] = np.asarray(values[value.name], dtype)
    return found
