"""What is known of a graph before it runs: shapes, constants, and who makes and reads what."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from harness.core.errors import clipped
from harness.core.schema import BATCH

Dim = int | str | None
Dims = tuple[Dim, ...]
"""A size, a symbol, or None where nothing is known."""

SMALL = 64
DEPTH = 64
MAIN = ("", "ai.onnx")
RECURRENT = ("LSTM", "GRU", "RNN")
_PASSING = ("Unsqueeze", "Squeeze", "Identity", "Cast", "Reshape")


@dataclass(frozen=True)
class Scope:
    """A graph or the body of a control-flow node; names of the graphs around it are seen."""

    graph: GraphProto
    within: str
    constants: ChainMap[str, TensorProto]
    producers: ChainMap[str, NodeProto]
    types: ChainMap[str, Any]

    def dims(self, name: str) -> Dims | None:
        """The inferred shape; None where not even the rank is known."""
        if name in self.constants:
            return tuple(self.constants[name].dims)
        tensor = self.types[name].tensor_type if name in self.types else None
        return None if tensor is None or not tensor.HasField("shape") else dims_of(tensor)

    def dtype(self, name: str) -> int:
        """The element type as ONNX numbers it; 0 where it is unknown."""
        if name in self.constants:
            return int(self.constants[name].data_type)
        return int(self.types[name].tensor_type.elem_type) if name in self.types else 0

    def array(self, name: str) -> np.ndarray[Any, Any] | None:
        """A constant of at most 64 elements stored in the file."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        return numpy_helper.to_array(tensor) if np.prod(tensor.dims, dtype=int) <= SMALL else None

    def elements(self, name: str, depth: int = DEPTH) -> list[int | None] | None:
        """The integers of a vector, None for those computed; None where its size is unknown.

        They are followed through ``depth`` nodes.
        """
        constant = self.array(name)
        if constant is not None:
            whole = np.issubdtype(constant.dtype, np.integer) and constant.ndim <= 1
            return [int(value) for value in constant.reshape(-1)] if whole else None
        node = self.producers.get(name) if depth else None
        if node is not None and node.op_type in _PASSING:
            found = self.elements(node.input[0], depth - 1)
            if found is not None:
                return found
        if node is not None and node.op_type == "Concat":
            parts = [self.elements(part, depth - 1) for part in node.input]
            if all(part is not None for part in parts):
                return [value for part in parts if part is not None for value in part]
        dims = self.dims(name)
        if dims is None or len(dims) > 1 or (dims and not isinstance(dims[0], int)):
            return None
        return [None] * (int(dims[0] or 0) if dims else 1)

    def label(self, node: NodeProto) -> str:
        """How a finding names a node: its name, or else its first output."""
        own = node.name or next((name for name in node.output if name), "")
        return f"{self.within}{node.op_type} {own!r}"


@dataclass(frozen=True)
class Facts:
    """A model, the sizes of the example it was exported with (may be empty), and its file.

    ``scopes`` holds the main graph first, then every body, with shapes inferred from the inputs
    alone: what the file declares of outputs and inner tensors has no part in it.
    ``refused`` says why strict inference ended, where it did.
    """

    model: ModelProto
    example: Mapping[str, int] = field(default_factory=dict)
    path: Path | None = None
    scopes: tuple[Scope, ...] = ()
    refused: str = ""

    @property
    def graph(self) -> GraphProto:
        return self.model.graph

    @property
    def main(self) -> Scope:
        return self.scopes[0]

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators; 1 where none is imported."""
        return next((o.version for o in self.model.opset_import if o.domain in MAIN), 1)

    @property
    def axes(self) -> set[str]:
        """The names that the inputs' axes have: those are dynamic beyond doubt."""
        shapes = (dims_of(value.type.tensor_type) for value in self.graph.input)
        return {dim for dims in shapes for dim in dims if isinstance(dim, str)}

    def nodes(self) -> Iterator[tuple[Scope, NodeProto]]:
        for scope in self.scopes:
            for node in scope.graph.node:
                yield scope, node

    def recurrent(self) -> Iterator[tuple[Scope, NodeProto]]:
        for scope, node in self.nodes():
            if node.op_type in RECURRENT and node.domain in MAIN:
                yield scope, node


def gather(model: ModelProto, example: Mapping[str, int], path: Path | None = None) -> Facts:
    """Infer and index; a graph whose shapes cannot be inferred has facts too, only fewer."""
    bare = ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    refused, inferred = "", bare
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ProtobufError, ValueError, RuntimeError) as error:
        refused = _message(error)
        try:
            inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
        except (onnx.shape_inference.InferenceError, ProtobufError, ValueError, RuntimeError):
            inferred = bare
    scopes = tuple(_scopes(inferred.graph, "", ChainMap(), ChainMap(), ChainMap()))
    return Facts(model, dict(example), path, scopes, refused)


def declared_types(model: ModelProto) -> dict[str, Any]:
    """The declared or inferred type of every tensor of the main graph, by name."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
    except Exception:
        inferred = model.graph
    return {v.name: v for v in (*inferred.value_info, *inferred.input, *inferred.output)}


def dims_of(tensor: Any) -> Dims:
    """The dimensions of a ``TypeProto.Tensor``."""
    return tuple(
        int(dim.dim_value) if dim.HasField("dim_value") else (dim.dim_param or None)
        for dim in tensor.shape.dim
    )


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def bodies(node: NodeProto) -> list[GraphProto]:
    """The graphs that a control-flow node holds."""
    graphs = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return graphs + [g for a in node.attribute for g in a.graphs]


def is_batch(axis: str) -> bool:
    return axis == BATCH or axis.lower() in ("n", "b", "batch_size")


def _scopes(
    graph: GraphProto,
    within: str,
    constants: ChainMap[str, TensorProto],
    producers: ChainMap[str, NodeProto],
    types: ChainMap[str, Any],
) -> Iterator[Scope]:
    own = Scope(graph, within, constants.new_child(), producers.new_child(), types.new_child())
    for tensor in graph.initializer:
        own.constants[tensor.name] = tensor
    for value in (*graph.input, *graph.value_info, *graph.output):
        own.types[value.name] = value.type
    for node in graph.node:
        for name in node.output:
            own.producers[name] = node
        if node.op_type == "Constant" and node.domain in MAIN:
            tensor = _constant(node)
            if tensor is not None and node.output:
                own.constants[node.output[0]] = tensor
    yield own
    for node in graph.node:
        for body in bodies(node):
            yield from _scopes(
                body, f"in {own.label(node)}: ", own.constants, own.producers, own.types
            )


def _constant(node: NodeProto) -> TensorProto | None:
    """The value of a Constant node as a tensor."""
    for given in node.attribute:
        value = helper.get_attribute_value(given)
        if given.name == "value":
            return given.t
        if given.name in ("value_int", "value_ints"):
            return numpy_helper.from_array(np.asarray(value, np.int64))
        if given.name in ("value_float", "value_floats"):
            return numpy_helper.from_array(np.asarray(value, np.float32))
    return None


def _message(error: BaseException) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return clipped(text or type(error).__name__)
