"""A graph with every narrow floating type in it replaced by float64.

Integers, booleans, strings and the quantised 8-bit and 4-bit floats stay as they are. The result
is for ``evaluator``; onnx's checker refuses it where an operator allows float32 alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, TensorProto, helper, numpy_helper

from harness.graphs import walk
from harness.graphs.attributes import schema

NARROW = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
NARROW_DTYPES = tuple(np.dtype(helper.tensor_dtype_to_np_dtype(t)) for t in NARROW)
DTYPE_ATTRIBUTES = (
    "to",
    "dtype",
    "output_dtype",
    "output_datatype",
    "stash_type",
    "precision",
    "softmax_precision",
)


def widen(model: Any) -> Any:
    """Return a widened copy of a ModelProto: its graph, nested graphs and functions."""
    wide = deepcopy(model)
    _widen(wide.graph, walk.opsets(wide))
    for function in wide.functions:
        _widen(function, walk.opsets(function))
    return wide


def widen_function(function: Any) -> Any:
    """Return a widened copy of a FunctionProto."""
    wide = deepcopy(function)
    _widen(wide, walk.opsets(wide))
    return wide


def widen_value(value: Any) -> Any:
    """Return an array, or a list of them, in float64 where it is in a narrow floating type."""
    if isinstance(value, list):
        return [widen_value(item) for item in value]
    narrow = getattr(value, "dtype", None) in NARROW_DTYPES
    return value.astype(np.float64) if narrow else value


def _widen(holder: Any, opsets: Mapping[str, int]) -> None:
    """Widen a graph or a function, and what is nested in it, in place."""
    nodes = list(walk.nodes(holder))
    for graph in (holder, *(body for node in nodes for body in walk.bodies(node))):
        for value in graph.value_info:
            _type(value.type)
        if isinstance(graph, GraphProto):
            for tensor in graph.initializer:
                _tensor(tensor)
            for sparse in graph.sparse_initializer:
                _tensor(sparse.values)
            for value in (*graph.input, *graph.output):
                _type(value.type)
    for node in nodes:
        for attribute in node.attribute:
            _attribute(attribute)
        names = {attribute.name for attribute in node.attribute}
        if node.op_type == "ConstantOfShape" and not names:
            zero = numpy_helper.from_array(np.zeros(1))
            node.attribute.append(helper.make_attribute("value", zero))
        for name in _narrow_defaults(node, opsets) - names:
            node.attribute.append(helper.make_attribute(name, TensorProto.DOUBLE))


def _attribute(attribute: Any) -> None:
    """Widen what one attribute holds; a Constant's ``value_float`` becomes a ``value``."""
    kind = attribute.type
    if attribute.ref_attr_name:
        return
    if attribute.name in ("value_float", "value_floats"):
        numbers = attribute.f if kind == AttributeProto.FLOAT else list(attribute.floats)
        tensor = numpy_helper.from_array(np.array(numbers, np.float64))
        attribute.CopyFrom(helper.make_attribute("value", tensor))
    elif kind == AttributeProto.INT and attribute.name in DTYPE_ATTRIBUTES:
        attribute.i = TensorProto.DOUBLE if attribute.i in NARROW else attribute.i
    for tensor in (attribute.t, *attribute.tensors):
        _tensor(tensor)
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        _tensor(sparse.values)
    for declared in (attribute.tp, *attribute.type_protos):
        _type(declared)


def _narrow_defaults(node: Any, opsets: Mapping[str, int]) -> set[str]:
    """Return the attributes of the node's operator whose default is a narrow float."""
    definition = schema(node, opsets)
    attributes = definition.attributes if definition else {}
    dtypes = (n for n in DTYPE_ATTRIBUTES if n in attributes)
    return {name for name in dtypes if attributes[name].default_value.i in NARROW}


def _tensor(tensor: Any) -> None:
    if tensor.data_type in NARROW:
        wide = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))


def _type(declared: Any) -> None:
    """Widen the element type of a tensor, or of what a sequence, optional or map holds."""
    which = declared.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        tensor = getattr(declared, which)
        tensor.elem_type = TensorProto.DOUBLE if tensor.elem_type in NARROW else tensor.elem_type
    elif which in ("sequence_type", "optional_type"):
        _type(getattr(declared, which).elem_type)
    elif which == "map_type":
        _type(declared.map_type.value_type)
