"""Where an unrolled trace repeats itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import fx

from harness.exporters.torch.rolled.cells import split
from harness.exporters.torch.rolled.steps import SIZES, TAKING, Loop, NotALoopError
from harness.exporters.torch.rolled.unrolled import JOIN, SLACK, Looped

aten = torch.ops.aten


def loops_of(graph: fx.Graph, looped: Sequence[Looped]) -> list[Loop]:
    """Return the loops of an unrolled trace in their order."""
    _zeros_first(graph)
    nodes = [n for n in graph.nodes if n.op == "call_function" and n.target not in SIZES]
    words = [_word(node) for node in nodes]
    lengths = {loop.steps: loop.size for loop in reversed(looped) if not loop.fixed}
    free = {loop.count for loop in looped if not loop.fixed}
    fixed = {loop.count for loop in looped if loop.fixed} - free
    fixed |= {count - 1 for count in fixed} - free
    found: list[Loop] = []
    start = 0
    while start < len(nodes):
        runs = list(_runs(words, start, max(min(lengths) - SLACK, 3)))
        loop = next(_at(graph, nodes, start, runs, fixed, lengths, found), None)
        if loop is not None:
            found += split(loop)
            start += loop.count * len(loop.steps[0])
        else:
            start += max((period * count for period, count in runs if count in fixed), default=1)
    return found


def _zeros_first(graph: fx.Graph) -> None:
    """Move states of zeros before the steps, where the first step makes them."""
    for node in list(graph.nodes):
        if node.target is aten.zeros.default and (made_of := node.all_input_nodes):
            order = {other: place for place, other in enumerate(graph.nodes)}
            max(made_of, key=order.__getitem__).append(node)


def _runs(words: Sequence[Any], start: int, least: int) -> Iterator[tuple[int, int]]:
    """Yield the nodes of a step, and how many steps, of what repeats itself from a node on."""
    for period in range(1, (len(words) - start) // least + 1):
        count = 1
        while words[start : start + period] == words[start + count * period :][:period]:
            count += 1
        if count >= least:
            yield period, count


def _at(
    graph: fx.Graph,
    nodes: Sequence[fx.Node],
    start: int,
    runs: Sequence[tuple[int, int]],
    fixed: set[int],
    lengths: dict[int, Any],
    earlier: Sequence[Loop],
) -> Iterator[Loop]:
    """Yield the loops that begin with a node; none that has as many steps at every length."""
    for period, count in runs:
        targets = {node.target for node in nodes[start : start + period]}
        if count in fixed or targets <= TAKING or JOIN in targets:
            continue
        for length, size in lengths.items():
            at = _size(graph, nodes[start], size)
            tries = sorted(range(length - SLACK, length + 1), reverse=True)
            for steps in [t for t in tries if 3 <= t <= count] if at is not None else ():
                rows = [
                    list(nodes[start + t * period : start + (t + 1) * period]) for t in range(steps)
                ]
                loop = Loop(rows, at, length, [*earlier])
                try:
                    loop.match()
                except NotALoopError:
                    continue
                yield loop


def _size(graph: fx.Graph, before: fx.Node, size: Any) -> fx.Node | None:
    """Return a node that is a size, made before another node; None where no tensor has it."""
    for node in graph.nodes:
        if node is before:
            return None
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            continue
        for axis, own in enumerate(value.shape):
            if isinstance(own, torch.SymInt) and own.node.expr == size.node.expr:
                with graph.inserting_after(node):
                    made = graph.call_function(aten.sym_size.int, (node, axis))
                    made.meta["val"] = own
                    return made
    return None


def _word(node: fx.Node) -> Any:
    """Return what nodes of two steps have in common."""

    def of(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(map(of, value))
        if isinstance(value, fx.Node):
            return "node"
        return "number" if type(value) is int else str(value)

    return node.target, of(node.args), tuple((k, of(v)) for k, v in node.kwargs.items())
