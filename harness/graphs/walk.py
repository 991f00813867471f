"""Walking a graph: its nodes, the graphs nested in them, and the names that they read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

MAIN = ("", "ai.onnx")
"""How a file spells the domain of ONNX's own operators."""


def bodies(node: Any) -> list[Any]:
    """The graphs nested in a node, such as the two branches of an If."""
    return [
        body
        for entry in node.attribute
        for body in ([entry.g] if entry.HasField("g") else entry.graphs)
    ]


def nodes(*holders: Any) -> Iterator[Any]:
    """The nodes of graphs and functions, each one before those nested in it."""
    for holder in holders:
        for node in holder.node:
            yield node
            yield from nodes(*bodies(node))


def reads(node: Any) -> list[str]:
    """What a node reads, each name once, with what its bodies take from the graphs around them."""
    names = list(node.input)
    for body in bodies(node):
        own = {value.name for value in (*body.input, *body.initializer)}
        own |= {name for inner in body.node for name in inner.output}
        inside = [name for inner in body.node for name in reads(inner)]
        names += [n for n in (*inside, *(v.name for v in body.output)) if n not in own]
    return list(dict.fromkeys(filter(None, names)))


def used(graph: Any) -> set[str]:
    """The names that anything reads, the outputs of the graph and of nested ones included."""
    every = list(nodes(graph))
    names = {name for node in every for name in node.input}
    graphs = [graph, *(body for node in every for body in bodies(node))]
    return (names | {value.name for each in graphs for value in each.output}) - {""}


def inputs(graph: Any) -> list[Any]:
    """What a graph has to be given: its inputs but for those that an initializer fills."""
    filled = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in filled]


def input_at(node: Any, slot: int) -> str:
    """The name that a node reads as its input number ``slot``; empty where it has none there."""
    return str(node.input[slot]) if slot < len(node.input) else ""


def trimmed(names: Iterable[str]) -> list[str]:
    """The names without the empty ones at their end."""
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def opsets(proto: Any) -> dict[str, int]:
    """The version of every domain that a model or a function imports; ONNX's own is ``""``."""
    imports = proto.opset_import
    return {"" if o.domain in MAIN else o.domain: int(o.version) for o in imports}


def opset(model: Any) -> int:
    """The version of ONNX's own operators; 1 where none is imported."""
    return opsets(model).get("", 1)
