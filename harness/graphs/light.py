"""A model without the values of its large weights, which a pass over its structure does not read.

Protobuf keeps what a field held before until the whole model goes: a model whose weights are taken
out and put back has them twice. So they are left out of a copy.
"""

from __future__ import annotations

from math import prod

from onnx import GraphProto, ModelProto, TensorProto, helper

from harness.graphs.serialize import copy_fields

SMALL = 1024
"""Elements of a float32 weight from which its values are left out: no shape follows from them."""


def light(model: ModelProto) -> ModelProto:
    """Return a copy whose large float32 weights have no values."""
    copy = _without_weights(model)
    for tensor in model.graph.initializer:
        if _large(tensor):
            copy.graph.initializer.add(
                name=tensor.name, data_type=tensor.data_type, dims=tensor.dims
            )
        else:
            copy.graph.initializer.add().CopyFrom(tensor)
    return copy


def filled(copy: ModelProto, model: ModelProto) -> ModelProto:
    """Return the ``light`` copy with the values that the model's weights have, set in place."""
    for tensor, whole in zip(copy.graph.initializer, model.graph.initializer, strict=True):
        if _large(whole):
            tensor.raw_data = whole.raw_data
    return copy


def fed(model: ModelProto) -> ModelProto:
    """Return a copy whose large float32 weights are inputs: ONNX's check wants values of others."""
    copy = _without_weights(model)
    known = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if not _large(tensor):
            copy.graph.initializer.add().CopyFrom(tensor)
        elif tensor.name not in known:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, [*tensor.dims])
            copy.graph.input.append(value)
    return copy


def _large(tensor: TensorProto) -> bool:
    if tensor.data_type != TensorProto.FLOAT or prod(tensor.dims) <= SMALL:
        return False
    return bool(tensor.HasField("raw_data"))


def _without_weights(model: ModelProto) -> ModelProto:
    copy, graph = ModelProto(), GraphProto()
    copy_fields(model, copy, lambda number: number != ModelProto.GRAPH_FIELD_NUMBER)
    weights = GraphProto.INITIALIZER_FIELD_NUMBER
    copy_fields(model.graph, graph, lambda number: number != weights)
    copy.graph.CopyFrom(graph)
    return copy
