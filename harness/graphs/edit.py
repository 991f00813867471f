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
    """A working copy of a model; ``done`` gives the model back, its nodes in order.

    Only the main graph is edited. New names start with ``planted_`` and are free.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = deepcopy(model)
        self.graph = self.model.graph
        made = (name for node in self.graph.node for name in node.output)
        stored = (value.name for value in (*self.graph.input, *self.graph.initializer))
        taken = {*made, *stored}
        self._names = (name for n in count(1) if (name := f"planted_{n}") not in taken)

    @property
    def nodes(self) -> list[Any]:
        return list(self.graph.node)

    def recurrent(self) -> list[Any]:
        """The LSTM, GRU and RNN nodes, in the graph's order."""
        return [node for node in self.graph.node if is_recurrent(node)]

    def producer(self, tensor: str) -> Any | None:
        """The node that makes ``tensor``; None for an input or an initializer."""
        return next((n for n in self.graph.node if tensor and tensor in n.output), None)

    def consumers(self, tensor: str) -> list[Any]:
        return [n for n in self.graph.node if tensor in n.input]

    def value(self, tensor: str) -> Array | None:
        """The constant that ``tensor`` is, from an initializer or a Constant node; else None."""
        held = constants(self.graph).get(tensor)
        return None if held is None else numpy_helper.to_array(held)

    def weights(self) -> list[str]:
        """The float32 initializers that hold weights: an axis at least, and not all zero."""
        held = [t for t in self.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
        return [t.name for t in held if t.dims and np.any(numpy_helper.to_array(t))]

    def put(self, tensor: str, value: Array) -> None:
        """Give the initializer ``tensor`` other values."""
        stored = next(t for t in self.graph.initializer if t.name == tensor)
        stored.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor))

    def dense(self) -> list[Any]:
        """The MatMul and Gemm nodes whose second factor is a constant matrix."""
        factors = [n for n in self.graph.node if n.op_type in ("MatMul", "Gemm")]
        return [n for n in factors if self.rank(n.input[1]) == 2]

    def embeddings(self) -> list[Any]:
        """The Gather nodes that read rows of a constant float matrix."""
        readers = [n for n in self.graph.node if n.op_type == "Gather"]
        return [n for n in readers if n.input[0] in self.weights() and not attribute(n, "axis", 0)]

    def reduced(self, op: str, tensor: str, axes: Sequence[int] | None = None) -> str:
        """A reduction of ``tensor`` over ``axes`` (None: all), which keep the size 1."""
        if axes is None:
            return self.node(op, [tensor], keepdims=1)
        since = 13 if op == "ReduceSum" else 18
        if walk.opset(self.model) < since:
            return self.node(op, [tensor], axes=list(axes), keepdims=1)
        return self.node(op, [tensor, self.constant(list(axes), np.int64)], keepdims=1)

    def size(self, tensor: str, axis: int) -> str:
        """How long ``tensor`` is along ``axis``, as an int64 scalar."""
        return self.node("Gather", [self.node("Shape", [tensor]), self.constant(axis, np.int64)])

    def rank(self, tensor: str) -> int:
        """How many axes the constant ``tensor`` has; -1 where it is none."""
        value = self.value(tensor)
        return -1 if value is None else value.ndim

    def constant(self, value: Any, dtype: Any = None) -> str:
        """A new initializer."""
        name = self._name()
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> str:
        """A new node; the name of its first output."""
        names = [self._name() for _ in range(outputs)]
        self.graph.node.append(helper.make_node(op, list(inputs), names, names[0], **attributes))
        return names[0]

    def feed(self, node: Any, index: int, tensor: str) -> None:
        """Give ``node`` another tensor as its input at ``index``, optional ones included."""
        while len(node.input) <= index:
            node.input.append("")
        node.input[index] = tensor

    def rewrite(self, tensor: str, make: Callable[[str], str]) -> None:
        """Let all that reads ``tensor`` read what ``make`` computes from it instead.

        ``make`` takes and gives the name of a tensor; a graph's output of that name changes too.
        """
        if self.producer(tensor) is None:
            readers = self.consumers(tensor)
            self.redirect(tensor, make(tensor), readers)
            return
        kept = self.splice(tensor)
        self.named(tensor, "Identity", [make(kept)])

    def publish(self, output: str, tensor: str) -> None:
        """Give the graph's ``output`` another value, unknown to the nodes that read it."""
        self.released(output)
        self.named(output, "Identity", [tensor])

    def part(self, tensor: str, start: int | str, stop: int | str, axis: int, step: int = 1) -> str:
        """A slice along ``axis``, as in Python; a bound may be a tensor, int64 [1]."""
        bounds = [b if isinstance(b, str) else self.constant([b], np.int64) for b in (start, stop)]
        rest = [self.constant([axis], np.int64), self.constant([step], np.int64)]
        return self.node("Slice", [tensor, *bounds, *rest])

    def flipped(self, tensor: str, axis: int) -> str:
        """``tensor`` in reverse order along ``axis``."""
        return self.part(tensor, -1, -END, axis, -1)

    def rolled(self, tensor: str, axis: int) -> str:
        """``tensor`` moved by one along ``axis``, its last entry first."""
        parts = [self.part(tensor, -1, END, axis), self.part(tensor, 0, -1, axis)]
        return self.node("Concat", parts, axis=axis)

    def positions(self, tensor: str, axis: int) -> str:
        """0, 1, 2, …: the int64 indices of ``tensor`` along ``axis``."""
        bounds = [self.constant(0, np.int64), self.size(tensor, axis), self.constant(1, np.int64)]
        return self.node("Range", bounds)

    def downstream(self, sources: Iterable[str]) -> set[str]:
        """All tensors that are computed from any of ``sources``, these included."""
        found = {name for name in sources if name}
        for node in self._sorted():
            if found & {*walk.reads(node)}:
                found.update(name for name in node.output if name)
        return found

    def splice(self, tensor: str) -> str:
        """Free the name of what a node makes, so that another can make it; its new name."""
        node = self.producer(tensor)
        if node is None:
            raise ValueError(f"{tensor} is not made by a node")
        kept = self._name()
        node.output[list(node.output).index(tensor)] = kept
        return kept

    def released(self, output: str) -> str:
        """Free the name of an output for another node; the new name of what had it.

        Whatever in the graph reads that tensor goes on reading it.
        """
        readers, kept = self.consumers(output), self.splice(output)
        self.redirect(output, kept, readers)
        return kept

    def named(self, name: str, op: str, inputs: Sequence[str], **attributes: Any) -> None:
        """A new node with one output, called ``name``."""
        made = helper.make_node(op, list(inputs), [name], self._name(), **attributes)
        self.graph.node.append(made)

    def redirect(self, old: str, new: str, nodes: Iterable[Any] | None = None) -> None:
        """Let ``nodes`` (all but the maker of ``new``) read ``new`` where they read ``old``."""
        maker = self.producer(new)
        for node in self.graph.node if nodes is None else nodes:
            if node is not maker:
                node.input[:] = [new if name == old else name for name in node.input]

    def fork(self, source: str, other: str, node: Any, index: int) -> None:
        """Let input ``index`` of ``node`` alone be computed from ``other`` instead of ``source``.

        Every node between ``source`` and that input is doubled; nothing happens where the input
        does not depend on ``source``.
        """
        made: dict[str, str] = {source: other}
        for between in self._between(source, str(node.input[index])):
            twin = self.graph.node.add()
            twin.CopyFrom(between)
            twin.name = self._name()
            twin.input[:] = [made.get(name, name) for name in between.input]
            twin.output[:] = [name and self._name() for name in between.output]
            made.update(zip(between.output, twin.output, strict=True))
        node.input[index] = made.get(node.input[index], node.input[index])

    def depends(self, tensor: str, source: str) -> bool:
        """Whether ``tensor`` is computed from ``source``."""
        return tensor == source or bool(self._between(source, tensor))

    def done(self) -> onnx.ModelProto:
        """The edited model, its nodes sorted, without stale intermediate types."""
        del self.graph.value_info[:]
        nodes = list(self._sorted())
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        return self.model

    def _name(self) -> str:
        return next(self._names)

    def _between(self, source: str, target: str) -> list[Any]:
        """The nodes on the paths from one tensor to another, in the graph's order."""
        needed, ahead = {target}, []
        for node in reversed(list(self._sorted())):
            if needed & set(node.output):
                needed.update(name for name in node.input if name)
                ahead.append(node)
        reached, found = {source}, []
        for node in reversed(ahead):
            if reached & set(node.input):
                reached.update(name for name in node.output if name)
                found.append(node)
        return found if target in reached else []

    def _sorted(self) -> Iterator[Any]:
        """The nodes, each after those that it reads from; ValueError where there is a cycle."""
        nodes = self.nodes
        maker = {name: i for i, node in enumerate(nodes) for name in node.output}
        reads = [{maker[n] for n in walk.reads(node) if n in maker} for node in nodes]
        sorter = TopologicalSorter(dict(enumerate(reads)))
        sorter.prepare()
        while sorter.is_active():
            ready = sorted(sorter.get_ready())
            yield from (nodes[i] for i in ready)
            sorter.done(*ready)
