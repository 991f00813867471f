"""Walking a graph: its nodes, the graphs nested in them, and the names that they read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

MAIN = ("", "ai.onnx")
"""How a file spells the domain of ONNX's own operators."""


def bodies(node: Any) -> list[Any]:
    """Return the graphs nested in a node, such as the two branches of an If."""
    return [
        body
        for entry in node.attribute
        for body in ([entry.g] if entry.HasField("g") else entry.graphs)
    ]


def nodes(*holders: Any) -> Iterator[Any]:
    """Yield the nodes of graphs and functions, each one before those nested in it."""
    for holder in holders:
        for node in holder.node:
            yield node
            yield from nodes(*bodies(node))


def reads(node: Any) -> list[str]:
    """Return the names that a node and its bodies read from the graph around it, each once."""
    names = list(node.input)
    for body in bodies(node):
        defined = {value.name for value in (*body.input, *body.initializer)}
        defined |= {name for inner in body.node for name in inner.output}
        inside = [name for inner in body.node for name in reads(inner)]
        names += [n for n in (*inside, *(v.name for v in body.output)) if n not in defined]
    return list(dict.fromkeys(filter(None, names)))


def used(graph: Any) -> set[str]:
    """Return every name that a node reads or that is an output of the graph or a nested one."""
    all_nodes = list(nodes(graph))
    names = {name for node in all_nodes for name in node.input}
    graphs = [graph, *(body for node in all_nodes for body in bodies(node))]
    return (names | {value.name for inner in graphs for value in inner.output}) - {""}


def inputs(graph: Any) -> list[Any]:
    """Return a graph's inputs but those that an initializer fills."""
    filled = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in filled]


def input_at(node: Any, slot: int) -> str:
    """Return the name of a node's input number ``slot``; empty where it is left out."""
    return str(node.input[slot]) if slot < len(node.input) else ""


def trimmed(names: Iterable[str]) -> list[str]:
    """Return the names without the empty ones at their end."""
    names = list(names)
    while names and not names[-1]:
        names.pop()
    return names


def opsets(proto: Any) -> dict[str, int]:
    """Return the version of every domain that a model or a function imports; ONNX's is ``""``."""
    imports = proto.opset_import
    return {"" if o.domain in MAIN else o.domain: int(o.version) for o in imports}


def opset(model: Any) -> int:
    """Return the version of ONNX's own operators; 1 where none is imported."""
    return opsets(model).get("", 1)
