"""A model's main graph with what a search for a fault asks of it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import onnx
from onnx import helper, numpy_helper

from harness.core.schema import Array

GRAPH, GRAPHS = onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS
# fmt: off
ROLES = {
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
}
# fmt: on
"""What ONNX calls the inputs of its recurrent operators."""


class Net:
    """The nodes of a model by number, in the file's order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        stored = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [v.name for v in model.graph.input if v.name not in stored]
        self.outputs = [v.name for v in model.graph.output]
        self.maker = {name: i for i, n in enumerate(self.nodes) for name in n.output if name}

    @cached_property
    def constants(self) -> dict[str, Array]:
        """Every initializer and what every Constant node holds, by name."""
        found = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        for node in self.nodes:
            held = attributes(node).get("value") if node.op_type == "Constant" else None
            if isinstance(held, onnx.TensorProto):
                found[node.output[0]] = numpy_helper.to_array(held)
        return found

    @cached_property
    def computing(self) -> list[int]:
        """The numbers of the nodes that are no constants."""
        constant = self.constants
        return [i for i, n in enumerate(self.nodes) if not n.output or n.output[0] not in constant]

    def reads(self, number: int) -> list[str]:
        """What a node reads, with what its bodies take from the graph around them."""
        return list(dict.fromkeys(name for name in _reads(self.nodes[number]) if name))

    def readers(self, tensor: str) -> list[tuple[int, int]]:
        """The nodes that read a tensor, and at which of their inputs."""
        return [
            (i, slot)
            for i, node in enumerate(self.nodes)
            for slot, name in enumerate(node.input)
            if name == tensor
        ]

    def ancestors(self, tensors: Iterable[str]) -> list[int]:
        """The nodes that some tensors are computed by, in the file's order."""
        needed, waiting = set(), list(tensors)
        while waiting:
            maker = self.maker.get(waiting.pop())
            if maker is not None and maker not in needed:
                needed.add(maker)
                waiting += self.reads(maker)
        return sorted(needed)

    def label(self, number: int) -> str:
        """A node as it is called in words: its operator, and its name or what it makes."""
        node = self.nodes[number]
        made = next((name for name in node.output if name), "")
        called = repr(node.name) if node.name else f"that makes {made!r}"
        return f"{node.op_type} {called}"

    def role(self, number: int, slot: int) -> str:
        """What the operator calls one of a node's inputs; its number where it has no name."""
        roles = ROLES.get(self.nodes[number].op_type, ())
        return roles[slot] if slot < len(roles) else f"input {slot}"


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes by name; text as text, graphs left out."""
    found = {}
    for entry in node.attribute:
        if entry.type not in (GRAPH, GRAPHS):
            found[entry.name] = _text(helper.get_attribute_value(entry))
    return found


def bodies(node: Any) -> dict[str, Any]:
    """The nested graphs of a node, by attribute."""
    return {entry.name: entry.g for entry in node.attribute if entry.type == GRAPH}


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_text(item) for item in value] if isinstance(value, list) else value


def _reads(node: Any) -> list[str]:
    names = list(node.input)
    for entry in node.attribute:
        for graph in [entry.g, *entry.graphs] if entry.type in (GRAPH, GRAPHS) else []:
            own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            own |= {name for inner in graph.node for name in inner.output}
            inside = [name for inner in graph.node for name in _reads(inner)]
            inside += [v.name for v in graph.output]
            names += [name for name in inside if name not in own]
    return names
