"""A copy of a graph that can be cut and spliced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from graphlib import TopologicalSorter
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from harness.core.schema import Array
from harness.graphs import walk
from harness.graphs.attributes import attribute, constants
from harness.graphs.recurrent import is_recurrent

END = int(np.iinfo(np.int64).max)
"""Beyond the end of any axis."""


class Edit:
    """A working copy of a model; ``done`` returns the edited model, its nodes sorted.

    Only the main graph is edited. New names start with ``planted_``. Methods that add a node or an
    initializer return the name of its tensor.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = deepcopy(model)
        self.graph = self.model.graph
        used = {name for node in self.graph.node for name in node.output}
        used |= {value.name for value in (*self.graph.input, *self.graph.initializer)}
        self._names = (name for n in count(1) if (name := f"planted_{n}") not in used)

    @property
    def nodes(self) -> list[Any]:
        return list(self.graph.node)

    def recurrent(self) -> list[Any]:
        """Return the LSTM, GRU and RNN nodes, in the graph's order."""
        return [node for node in self.graph.node if is_recurrent(node)]

    def producer(self, tensor: str) -> Any | None:
        """Return the node with the output ``tensor``; None for an input or an initializer."""
        return next((n for n in self.graph.node if tensor and tensor in n.output), None)

    def consumers(self, tensor: str) -> list[Any]:
        return [n for n in self.graph.node if tensor in n.input]

    def value(self, tensor: str) -> Array | None:
        """Return the value of an initializer or a Constant node; None for another tensor."""
        constant = constants(self.graph).get(tensor)
        return None if constant is None else numpy_helper.to_array(constant)

    def weights(self) -> list[str]:
        """Return the float32 initializers that hold weights: an axis at least, and not all zero."""
        floats = [t for t in self.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
        return [t.name for t in floats if t.dims and np.any(numpy_helper.to_array(t))]

    def put(self, tensor: str, value: Array) -> None:
        """Replace the values of the initializer ``tensor``."""
        initializer = next(t for t in self.graph.initializer if t.name == tensor)
        initializer.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor))

    def dense(self) -> list[Any]:
        """Return the MatMul and Gemm nodes whose second factor is a constant matrix."""
        products = [n for n in self.graph.node if n.op_type in ("MatMul", "Gemm")]
        return [n for n in products if self.rank(n.input[1]) == 2]

    def embeddings(self) -> list[Any]:
        """Return the Gather nodes that read rows of a constant float matrix."""
        readers = [n for n in self.graph.node if n.op_type == "Gather"]
        return [n for n in readers if n.input[0] in self.weights() and not attribute(n, "axis", 0)]

    def reduced(self, op: str, tensor: str, axes: Sequence[int] | None = None) -> str:
        """Add a reduction over ``axes`` (None: all), which stay with size 1."""
        if axes is None:
            return self.node(op, [tensor], keepdims=1)
        since = 13 if op == "ReduceSum" else 18
        if walk.opset(self.model) < since:
            return self.node(op, [tensor], axes=list(axes), keepdims=1)
        return self.node(op, [tensor, self.constant(list(axes), np.int64)], keepdims=1)

    def size(self, tensor: str, axis: int) -> str:
        """Add the size of ``tensor`` along ``axis``, as an int64 scalar."""
        return self.node("Gather", [self.node("Shape", [tensor]), self.constant(axis, np.int64)])

    def rank(self, tensor: str) -> int:
        """Return the number of axes of a constant; -1 for another tensor."""
        value = self.value(tensor)
        return -1 if value is None else value.ndim

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add an initializer."""
        name = self._name()
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> str:
        """Add a node and return the name of its first output."""
        names = [self._name() for _ in range(outputs)]
        self.graph.node.append(helper.make_node(op, list(inputs), names, names[0], **attributes))
        return names[0]

    def feed(self, node: Any, index: int, tensor: str) -> None:
        """Set the input of ``node`` at ``index``, which may be an optional one that is left out."""
        while len(node.input) <= index:
            node.input.append("")
        node.input[index] = tensor

    def rewrite(self, tensor: str, make: Callable[[str], str]) -> None:
        """Let all that reads ``tensor`` read what ``make`` computes from it instead.

        ``make`` takes and returns the name of a tensor; a graph's output of that name changes too.
        """
        if self.producer(tensor) is None:
            readers = self.consumers(tensor)
            self.redirect(tensor, make(tensor), readers)
        else:
            self.named(tensor, "Identity", [make(self.splice(tensor))])

    def publish(self, output: str, tensor: str) -> None:
        """Set the value of the graph's ``output`` but not what its readers in the graph get."""
        self.released(output)
        self.named(output, "Identity", [tensor])

    def part(self, tensor: str, start: int | str, stop: int | str, axis: int, step: int = 1) -> str:
        """Add a slice along ``axis``, as in Python; a bound may be a tensor, int64 [1]."""
        bounds = [b if isinstance(b, str) else self.constant([b], np.int64) for b in (start, stop)]
        along = [self.constant([axis], np.int64), self.constant([step], np.int64)]
        return self.node("Slice", [tensor, *bounds, *along])

    def flipped(self, tensor: str, axis: int) -> str:
        """Add ``tensor`` in reverse order along ``axis``."""
        return self.part(tensor, -1, -END, axis, -1)

    def rolled(self, tensor: str, axis: int) -> str:
        """Add ``tensor`` moved by one along ``axis``, its last entry first."""
        parts = [self.part(tensor, -1, END, axis), self.part(tensor, 0, -1, axis)]
        return self.node("Concat", parts, axis=axis)

    def positions(self, tensor: str, axis: int) -> str:
        """Add the int64 indices of ``tensor`` along ``axis``: 0, 1, 2, …"""
        bounds = [self.constant(0, np.int64), self.size(tensor, axis), self.constant(1, np.int64)]
        return self.node("Range", bounds)

    def downstream(self, sources: Iterable[str]) -> set[str]:
        """Return all tensors that are computed from any of ``sources``, and these."""
        tensors = {name for name in sources if name}
        for node in self._sorted():
            if tensors & {*walk.reads(node)}:
                tensors.update(name for name in node.output if name)
        return tensors

    def splice(self, tensor: str) -> str:
        """Rename a node's output, so that another node can have its name; return the new name."""
        node = self.producer(tensor)
        if node is None:
            raise ValueError(f"{tensor} is not made by a node")
        name = self._name()
        node.output[list(node.output).index(tensor)] = name
        return name

    def released(self, output: str) -> str:
        """Rename a node's output, for its readers too, and return the new name."""
        readers, name = self.consumers(output), self.splice(output)
        self.redirect(output, name, readers)
        return name

    def named(self, name: str, op: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Add a node with one output, called ``name``."""
        node = helper.make_node(op, list(inputs), [name], self._name(), **attributes)
        self.graph.node.append(node)

    def redirect(self, old: str, new: str, nodes: Iterable[Any] | None = None) -> None:
        """Let ``nodes`` (all but the producer of ``new``) read ``new`` where they read ``old``."""
        producer = self.producer(new)
        for node in self.graph.node if nodes is None else nodes:
            if node is not producer:
                node.input[:] = [new if name == old else name for name in node.input]

    def fork(self, source: str, replacement: str, node: Any, index: int) -> None:
        """Compute one input of ``node`` alone from ``replacement`` instead of ``source``.

        The nodes between ``source`` and that input are copied; nothing happens where the input
        does not depend on ``source``.
        """
        renamed: dict[str, str] = {source: replacement}
        for between in self._between(source, str(node.input[index])):
            twin = self.graph.node.add()
            twin.CopyFrom(between)
            twin.name = self._name()
            twin.input[:] = [renamed.get(name, name) for name in between.input]
            twin.output[:] = [name and self._name() for name in between.output]
            renamed.update(zip(between.output, twin.output, strict=True))
        node.input[index] = renamed.get(node.input[index], node.input[index])

    def depends(self, tensor: str, source: str) -> bool:
        """Return whether ``tensor`` is computed from ``source``."""
        return tensor == source or bool(self._between(source, tensor))

    def done(self) -> onnx.ModelProto:
        """Return the edited model, its nodes sorted, without stale intermediate types."""
        del self.graph.value_info[:]
        nodes = list(self._sorted())
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        return self.model

    def _name(self) -> str:
        return next(self._names)

    def _between(self, source: str, target: str) -> list[Any]:
        """Return the nodes on the paths from one tensor to another, in the graph's order."""
        ancestors, makers = {target}, []
        for node in reversed(list(self._sorted())):
            if ancestors & set(node.output):
                ancestors.update(name for name in node.input if name)
                makers.append(node)
        reached, between = {source}, []
        for node in reversed(makers):
            if reached & set(node.input):
                reached.update(name for name in node.output if name)
                between.append(node)
        return between if target in reached else []

    def _sorted(self) -> Iterator[Any]:
        """Yield the nodes, each after those that it reads from; ValueError for a cycle."""
        nodes = self.nodes
        maker = {name: i for i, node in enumerate(nodes) for name in node.output}
        reads = [{maker[n] for n in walk.reads(node) if n in maker} for node in nodes]
        sorter = TopologicalSorter(dict(enumerate(reads)))
        sorter.prepare()
        while sorter.is_active():
            ready = sorted(sorter.get_ready())
            yield from (nodes[i] for i in ready)
            sorter.done(*ready)
