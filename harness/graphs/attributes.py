"""A node's attributes, the constant that it holds, and the definition of its operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from harness.graphs.walk import MAIN, bodies, nodes

_NESTED = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
_PLAIN = {"value_int": np.int64, "value_float": np.float32}
"""The numbers that a Constant may hold without a tensor, alone or (``_ints``) as a list."""
SMALL = 64
"""Elements of a tensor that may make a shape."""


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return an attribute's value: numbers and text as Python's, tensors and graphs as stored."""
    entry = next((entry for entry in node.attribute if entry.name == name), None)
    return default if entry is None else _value(entry, default)


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes by name, as ``attribute`` does, without nested graphs."""
    entries = [e for e in node.attribute if e.type not in _NESTED]
    return {entry.name: _value(entry) for entry in entries}


def set_attribute(node: Any, name: str, value: Any) -> None:
    """Set an attribute of a node, or remove it with None."""
    others = [entry for entry in node.attribute if entry.name != name]
    del node.attribute[:]
    node.attribute.extend(others)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def tensors(node: Any) -> Iterator[TensorProto]:
    """Return the tensors among a node's attributes."""
    return (entry.t for entry in node.attribute if entry.HasField("t"))


def constant(node: Any) -> TensorProto | None:
    """Return a Constant node's value as a tensor; None for other nodes, text or sparse tensors."""
    if node.op_type != "Constant" or node.domain not in MAIN:
        return None
    for entry in node.attribute:
        if dtype := _PLAIN.get(entry.name.removesuffix("s")):
            value = helper.get_attribute_value(entry)
            return numpy_helper.from_array(np.asarray(value, dtype))
    return next(tensors(node), None)


def constants(graph: Any) -> dict[str, TensorProto]:
    """Return the initializers of one graph and the values of its Constant nodes, by name."""
    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.output and (tensor := constant(node)) is not None:
            values[node.output[0]] = tensor
    return values


def integers(model: Any) -> set[int]:
    """Return every integer of a model: sizes of constants, attributes, and small integer tensors.

    The next lower one counts too, as the index of a last step, and the next higher, as a size.
    """
    found: set[int] = set()
    every = list(nodes(model.graph, *model.functions))
    for graph in (model.graph, *(body for node in every for body in bodies(node))):
        for tensor in constants(graph).values():
            found.update(tensor.dims)
            if tensor.data_type in (TensorProto.INT64, TensorProto.INT32):
                value = numpy_helper.to_array(tensor)
                found.update(value.reshape(-1).tolist() if value.size <= SMALL else ())
    for node in every:
        for value in attributes(node).values():
            found.update(n for n in np.ravel(value).tolist() if isinstance(n, int))
    return {near for number in found for near in (number - 1, number, number + 1)}


def schema(node: Any, opsets: Mapping[str, int]) -> Any | None:
    """Return ONNX's definition of a node's operator at the imported ``opsets``, or None."""
    domain = "" if node.domain in MAIN else node.domain
    try:
        return onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except (onnx.defs.SchemaError, TypeError):  # TypeError for a version that is no int32
        return None


def _value(entry: Any, default: Any = None) -> Any:
    """Return an attribute's value; ``default`` where it refers to another or has no known type."""
    try:
        return _text(helper.get_attribute_value(entry))
    except ValueError:
        return default


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_text(item) for item in value] if isinstance(value, list) else value
