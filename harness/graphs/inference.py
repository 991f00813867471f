"""Shapes, types, constants and producers of a graph's tensors, as far as they follow from it."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from harness.core.errors import clipped
from harness.core.schema import BATCH
from harness.graphs import walk
from harness.graphs.attributes import constants
from harness.graphs.light import light
from harness.graphs.recurrent import is_recurrent

Dim = int | str | None
Dims = tuple[Dim, ...]
"""A size, a symbol, or None where nothing is known."""

SMALL = 64
DEPTH = 64
_PASSING = ("Unsqueeze", "Squeeze", "Identity", "Cast", "Reshape")


@dataclass(frozen=True)
class Scope:
    """A graph or the body of a control-flow node, which sees the names of the graphs around it."""

    graph: GraphProto
    within: str = ""
    constants: ChainMap[str, TensorProto] = field(default_factory=ChainMap)
    producers: ChainMap[str, NodeProto] = field(default_factory=ChainMap)
    types: ChainMap[str, Any] = field(default_factory=ChainMap)

    @property
    def own_constants(self) -> MutableMapping[str, TensorProto]:
        """The constants of this graph alone."""
        return self.constants.maps[0]

    def dims(self, name: str) -> Dims | None:
        """Return the inferred shape; None where not even the rank is known."""
        if name in self.constants:
            return tuple(self.constants[name].dims)
        return dims_of(self.types[name]) if name in self.types else None

    def dtype(self, name: str) -> int:
        """Return the element type as ONNX numbers it; 0 where it is unknown."""
        if name in self.constants:
            return int(self.constants[name].data_type)
        return int(self.types[name].tensor_type.elem_type) if name in self.types else 0

    def array(self, name: str) -> np.ndarray[Any, Any] | None:
        """Return a constant of at most 64 elements that the file holds; None for others."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        if not 0 <= math.prod(tensor.dims) <= SMALL:
            return None
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except Exception:  # NumPy and onnx raise what they like for a tensor that lies
            return None

    def elements(self, name: str, depth: int = DEPTH) -> list[int | None] | None:
        """Return a vector's integers, None for computed ones; None where its size is unknown.

        They are followed back through ``depth`` nodes.
        """
        return self._elements(name, depth, {})

    def _elements(
        self, name: str, depth: int, known: dict[str, list[int | None] | None]
    ) -> list[int | None] | None:
        """Return ``elements``, each name's once, and at most ``SMALL``: a file may double them."""
        if name not in known:
            known[name] = None
            found = self._followed(name, depth, known)
            known[name] = None if found is None or len(found) > SMALL else found
        return known[name]

    def _followed(
        self, name: str, depth: int, known: dict[str, list[int | None] | None]
    ) -> list[int | None] | None:
        constant = self.array(name)
        if constant is not None:
            integers = np.issubdtype(constant.dtype, np.integer) and constant.ndim <= 1
            return [int(value) for value in constant.reshape(-1)] if integers else None
        node = self.producers.get(name) if depth else None
        if node is not None and node.op_type in _PASSING and node.input:
            passed = self._elements(node.input[0], depth - 1, known)
            if passed is not None:
                return passed
        if node is not None and node.op_type == "Concat":
            parts = [self._elements(part, depth - 1, known) for part in node.input]
            if all(part is not None for part in parts):
                return [value for part in parts if part is not None for value in part]
        dims = self.dims(name)
        if dims is None or len(dims) > 1 or (dims and not isinstance(dims[0], int)):
            return None
        size = int(dims[0] or 0) if dims else 1
        return [None] * size if size <= SMALL else None

    def label(self, node: NodeProto) -> str:
        """Return how a finding calls a node: by its name, or else its first output."""
        name = node.name or next((output for output in node.output if output), "")
        return f"{self.within}{node.op_type} {name!r}"


@dataclass(frozen=True)
class Facts:
    """A model, the sizes of the example it was exported with (may be empty), and its file.

    ``scopes`` holds the main graph first, then every body, with shapes inferred from the inputs
    alone, not from what the file declares of outputs and inner tensors.
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
        return walk.opset(self.model)

    @property
    def axes(self) -> set[str]:
        """The names of the inputs' axes, which are certainly dynamic."""
        dims = (dim for value in self.graph.input for dim in dims_of(value.type) or ())
        return {dim for dim in dims if isinstance(dim, str)}

    def nodes(self) -> Iterator[tuple[Scope, NodeProto]]:
        for scope in self.scopes:
            for node in scope.graph.node:
                yield scope, node

    def recurrent(self) -> Iterator[tuple[Scope, NodeProto]]:
        return ((scope, node) for scope, node in self.nodes() if is_recurrent(node))


def gather(model: ModelProto, example: Mapping[str, int], path: Path | None = None) -> Facts:
    """Infer shapes and index a graph; the facts are fewer where inference refuses it."""
    try:
        typed, refused = inferred(model), ""
    except Exception as error:  # C++ raises what it likes for a graph that lies
        typed, refused = bare(model), _message(error)
        with suppress(Exception):
            typed = infer(typed, data_prop=True)
    scopes = tuple(_scopes(typed.graph, "", Scope(typed.graph)))
    return Facts(model, dict(example), path, scopes, refused)


def inferred(model: ModelProto) -> ModelProto:
    """Return a ``light`` copy with every shape that follows from the inputs alone.

    Raises as onnx does where a node contradicts itself or the declared types.
    """
    return onnx.shape_inference.infer_shapes(bare(model), strict_mode=True, data_prop=True)


def infer(model: ModelProto, **options: bool) -> ModelProto:
    """Return what onnx infers of a model: a copy that is ``light``, for onnx copies it often."""
    return onnx.shape_inference.infer_shapes(light(model), **options)


def bare(model: ModelProto) -> ModelProto:
    """Return a ``light`` copy that declares the shapes of its inputs alone."""
    copy = light(model)
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    return copy


def declared_types(model: ModelProto) -> dict[str, Any]:
    """Return the declared or inferred type of every tensor of the main graph, by name."""
    try:
        inferred = infer(model).graph
    except Exception:
        inferred = model.graph
    return {v.name: v for v in (*inferred.value_info, *inferred.input, *inferred.output)}


def dims_of(declared: Any) -> Dims | None:
    """Return the dimensions of a ``TypeProto``; None where it declares no shape of a tensor."""
    tensor = declared.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        int(dim.dim_value) if dim.HasField("dim_value") else (dim.dim_param or None)
        for dim in tensor.shape.dim
    )


def is_batch(axis: str) -> bool:
    return axis == BATCH or axis.lower() in ("n", "b", "batch_size")


def _scopes(graph: GraphProto, within: str, around: Scope) -> Iterator[Scope]:
    """Yield the scope of a graph, then those of the bodies in it."""
    declared = (*graph.input, *graph.value_info, *graph.output)
    scope = Scope(
        graph,
        within,
        around.constants.new_child(constants(graph)),
        around.producers.new_child({name: node for node in graph.node for name in node.output}),
        around.types.new_child({value.name: value.type for value in declared}),
    )
    yield scope
    for node in graph.node:
        for body in walk.bodies(node):
            yield from _scopes(body, f"in {scope.label(node)}: ", scope)


def _message(error: BaseException) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return clipped(text or type(error).__name__)
