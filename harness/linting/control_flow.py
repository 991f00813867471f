"""Loops, and loops that were unrolled, where a recurrent or a batched node would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from onnx import GraphProto, NodeProto

from harness.graphs import walk
from harness.graphs.attributes import attribute
from harness.graphs.inference import Facts
from harness.graphs.recurrent import RECURRENT
from harness.linting.finding import Finding
from harness.linting.shapes import ACTIVATIONS, CELL, repeated_cells

SIGMOIDS = {"Sigmoid", "HardSigmoid"}
"""Of each of these, one for every gate of a cell but the last."""


def control_flow(facts: Facts) -> Iterator[Finding]:
    """A Loop or Scan, or a chain of unrolled cells, where LSTM, GRU, RNN or MatMul would do."""
    for scope, node in facts.nodes():
        if node.op_type not in ("Loop", "Scan"):
            continue
        body = attribute(node, "body")
        states = _states(node, body)
        inside = list(walk.nodes(body))
        kinds = Counter(inner.op_type for inner in inside)
        products = [inner for inner in inside if inner.op_type in CELL]
        recurs = any(_reads(body, inner, states) for inner in products)
        if recurs and any(kinds[name] for name in ACTIVATIONS):
            sigmoids = sum(kinds[name] for name in SIGMOIDS)
            native = next(k for k, cell in RECURRENT.items() if sigmoids >= len(cell.gates) - 1)
            found = f"its body computes a recurrent cell, most like {native}, step by step"
            remedy = f"export the layer as {native}, which runs several times faster"
        elif not states:
            found = "its body carries nothing but a count from step to step: the same work for each"
            remedy = "apply its nodes once to all steps: they batch over leading axes"
        else:
            continue
        yield Finding("control-flow", "warning", scope.label(node), found, remedy)
    for scope in facts.scopes:
        for weight, count in repeated_cells(scope):
            yield Finding(
                "control-flow",
                "warning",
                f"{scope.within}constant {weight!r}",
                f"multiplies its own result {count} times in a row: an unrolled recurrence",
                "export the layer as LSTM, GRU or RNN, which has any length",
            )


def _states(node: NodeProto, body: GraphProto) -> set[str]:
    """The body's inputs that one step hands to the next, changed, counters left out."""
    first = 2 if node.op_type == "Loop" else 0
    count = len(node.input) - (2 if node.op_type == "Loop" else 0)
    if node.op_type == "Scan":
        count -= int(attribute(node, "num_scan_inputs", 0))
    made = {name: inner for inner in body.node for name in inner.output}
    taken = [value.name for value in body.input][first : first + count]
    given = [value.name for value in body.output][1 if node.op_type == "Loop" else 0 :]
    varying = {value.name for value in body.input}
    varying |= {name for name, inner in made.items() if inner.op_type != "Constant"}
    changed = set()
    for before, after in zip(taken, given, strict=False):
        source = after
        while source in made and made[source].op_type == "Identity":
            source = made[source].input[0]
        if source != before and not _counts(made.get(source), before, varying):
            changed.add(before)
    return changed


def _counts(node: NodeProto | None, name: str, varying: set[str]) -> bool:
    """Whether ``node`` adds to ``name`` what no step changes: a counter is no state of a cell."""
    if node is None or node.op_type not in ("Add", "Sub") or name not in node.input:
        return False
    return not any(each in varying for each in node.input if each != name)


def _reads(body: GraphProto, node: NodeProto, names: set[str]) -> bool:
    """Whether ``node`` depends, within one step, on one of ``names``."""
    made = {name: inner for inner in walk.nodes(body) for name in inner.output}
    todo, seen = list(node.input), set()
    while todo:
        name = todo.pop()
        if name in names:
            return True
        if name in made and name not in seen:
            seen.add(name)
            todo += made[name].input
    return False
