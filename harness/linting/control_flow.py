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
            problem = f"its body computes a recurrent cell, most like {native}, step by step"
            remedy = f"export the layer as {native}, which runs several times faster"
        elif not states:
            problem = (
                "its body carries nothing but a count from step to step: the same work for each"
            )
            remedy = "apply its nodes once to all steps: they batch over leading axes"
        else:
            continue
        yield Finding("control-flow", "warning", scope.label(node), problem, remedy)
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
    """Return the body's inputs that one step hands to the next, changed, counters left out."""
    first = 2 if node.op_type == "Loop" else 0
    count = len(node.input) - first
    if node.op_type == "Scan":
        count -= int(attribute(node, "num_scan_inputs", 0))
    makers = {name: inner for inner in body.node for name in inner.output}
    body_inputs = [value.name for value in body.input][first : first + count]
    body_outputs = [value.name for value in body.output][1 if node.op_type == "Loop" else 0 :]
    varying = {value.name for value in body.input}
    varying |= {name for name, inner in makers.items() if inner.op_type != "Constant"}
    changed = set()
    for before, after in zip(body_inputs, body_outputs, strict=False):
        source = after
        while source in makers and makers[source].op_type == "Identity":
            source = makers[source].input[0]
        if source != before and not _counts(makers.get(source), before, varying):
            changed.add(before)
    return changed


def _counts(node: NodeProto | None, name: str, varying: set[str]) -> bool:
    """Return whether ``node`` only adds a constant to ``name``: a counter is no state of a cell."""
    if node is None or node.op_type not in ("Add", "Sub") or name not in node.input:
        return False
    return not any(each in varying for each in node.input if each != name)


def _reads(body: GraphProto, node: NodeProto, names: set[str]) -> bool:
    """Return whether ``node`` depends, within one step, on one of ``names``."""
    makers = {name: inner for inner in walk.nodes(body) for name in inner.output}
    pending, visited = list(node.input), set()
    while pending:
        name = pending.pop()
        if name in names:
            return True
        if name in makers and name not in visited:
            visited.add(name)
            pending += makers[name].input
    return False
