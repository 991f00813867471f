"""A model's main graph with what a search for a fault asks of it."""

from __future__ import annotations

from collections.abc import Iterable
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
        """Every initializer and what every Constant node holds, by name."""
        held = constants(self.model.graph)
        return {name: numpy_helper.to_array(tensor) for name, tensor in held.items()}

    @cached_property
    def computing(self) -> list[int]:
        """The numbers of the nodes that are no constants."""
        constant = self.constants
        return [i for i, n in enumerate(self.nodes) if not n.output or n.output[0] not in constant]

    def reads(self, number: int) -> list[str]:
        """What a node reads, with what its bodies take from the graph around them."""
        return walk.reads(self.nodes[number])

    def makes(self, number: int) -> list[str]:
        """What a node makes, outputs that are left out aside."""
        return [name for name in self.nodes[number].output if name]

    def needs(self, numbers: Iterable[int]) -> list[str]:
        """What some nodes read that none of them makes."""
        chosen = list(numbers)
        made = {name for i in chosen for name in self.makes(i)}
        return list(dict.fromkeys(n for i in chosen for n in self.reads(i) if n not in made))

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
        made = next(iter(self.makes(number)), "")
        called = repr(node.name) if node.name else f"that makes {made!r}"
        return f"{node.op_type} {called}"

    def role(self, number: int, slot: int) -> str:
        """What the operator calls one of a node's inputs; its number where it has no name."""
        operator = RECURRENT.get(self.nodes[number].op_type)
        roles = operator.inputs if operator else ()
        return roles[slot] if slot < len(roles) else f"input {slot}"
