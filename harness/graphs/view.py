"""A model's main graph, indexed for the search for a fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import onnx
from onnx import numpy_helper

from harness.core.schema import Array
from harness.graphs import walk
from harness.graphs.attributes import constants
from harness.graphs.recurrent import RECURRENT


class Net:
    """The nodes of a model by number, in the file's order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.inputs = [v.name for v in walk.inputs(model.graph)]
        self.outputs = [v.name for v in model.graph.output]
        self.maker = {name: i for i in range(len(self.nodes)) for name in self.makes(i)}

    @cached_property
    def constants(self) -> dict[str, Array]:
        """The values of every initializer and Constant node, by name."""
        tensors = constants(self.model.graph)
        return {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}

    @cached_property
    def computing(self) -> list[int]:
        """The numbers of the nodes that are no constants."""
        constant = self.constants
        return [i for i, n in enumerate(self.nodes) if not n.output or n.output[0] not in constant]

    def reads(self, number: int) -> list[str]:
        """Return what a node and its bodies read from this graph."""
        return walk.reads(self.nodes[number])

    def makes(self, number: int) -> list[str]:
        """Return a node's outputs but those that are left out."""
        return [name for name in self.nodes[number].output if name]

    def needs(self, numbers: Sequence[int]) -> list[str]:
        """Return what some nodes read that none of them makes."""
        outputs = {name for i in numbers for name in self.makes(i)}
        return list(dict.fromkeys(n for i in numbers for n in self.reads(i) if n not in outputs))

    def readers(self, tensor: str) -> list[tuple[int, int]]:
        """Return the nodes that read a tensor, and at which of their inputs."""
        return [
            (i, slot)
            for i, node in enumerate(self.nodes)
            for slot, name in enumerate(node.input)
            if name == tensor
        ]

    def ancestors(self, tensors: Iterable[str]) -> list[int]:
        """Return the nodes that compute some tensors, in the file's order."""
        nodes, waiting = set(), list(tensors)
        while waiting:
            maker = self.maker.get(waiting.pop())
            if maker is not None and maker not in nodes:
                nodes.add(maker)
                waiting += self.reads(maker)
        return sorted(nodes)

    def label(self, number: int) -> str:
        """Return a node's operator with its name or its first output, for a message."""
        node = self.nodes[number]
        output = next(iter(self.makes(number)), "")
        name = repr(node.name) if node.name else f"that makes {output!r}"
        return f"{node.op_type} {name}"

    def role(self, number: int, slot: int) -> str:
        """Return the operator's name for one of a node's inputs; its number where it has none."""
        operator = RECURRENT.get(self.nodes[number].op_type)
        roles = operator.inputs if operator else ()
        return roles[slot] if slot < len(roles) else f"input {slot}"
