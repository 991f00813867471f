"""Loops that are the same from traces of different lengths.

A loop that a model runs a fixed number of times looks like one over a length of that many steps.
Only at another length do the two differ: what is written from two traces, and is the same, goes
over the lengths alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import torch
from torch import fx, nn

from harness.core.schema import Arrays, ModelSpec
from harness.exporters.torch.rolled.rebuilt import rolled
from harness.exporters.torch.rolled.steps import NotALoopError
from harness.exporters.torch.rolled.unrolled import Looped
from harness.graphs.example import example_inputs, sizes_of

FURTHER = 9
"""By how many steps, at least, an example is longer than the one before."""
MOST = 3

Trace = tuple[torch.export.ExportedProgram, Sequence[Looped]]


def lengthened(spec: ModelSpec, example: Arrays) -> Iterator[Arrays]:
    """Yield examples whose batch and lengths are larger each time, where their rules allow it."""
    arrays = example
    sizes: dict[str, int] = {}
    for _ in range(MOST):
        shapes = [value.shape for value in arrays.values()]
        largest = max(size for shape in shapes for size in shape[:2])
        longer = example_inputs(spec, range(largest + FURTHER))
        if sizes_of(spec, longer) == sizes:
            return
        sizes = sizes_of(spec, longer)
        arrays = {name: longer[name] for name in example}
        yield arrays


def confirmed(first: Trace, others: Iterable[Trace]) -> nn.Module:
    """Return what two unrolled traces of different lengths are written as, by ``rolled``.

    It is what the first is written as where the model takes no other length. NotALoopError where
    no two are the same.
    """
    made = [_rolled(first)]
    with suppress(Exception):  # of the model itself, which takes no input as long
        for trace in others:
            made.append(_rolled(trace))
            if _text(made[-1]) in map(_text, made[:-1]):
                break
    last = made[-1]
    if last is None or (len(made) > 1 and _text(last) not in map(_text, made[:-1])):
        raise NotALoopError("its loops are others at another length")
    return last


def _rolled(trace: Trace) -> nn.Module | None:
    try:
        return rolled(*trace)
    except NotALoopError:
        return None


def _text(module: nn.Module | None) -> list[str]:
    """Return what a written module computes, a node a line, whatever its nodes are called."""
    lines: list[str] = []
    for part in module.modules() if module is not None else ():
        number: dict[fx.Node, str] = {}
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            given = fx.map_arg((node.args, node.kwargs), lambda a, n=number: n[a])
            lines.append(f"{node.target if node.op != 'placeholder' else node.op} {given}")
            number[node] = f"%{len(number)}"
    return lines
