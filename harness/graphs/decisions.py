"""The decisions of a graph, and a copy of it that counts how often each is taken either way.

A decision is a condition (of ``Where``, ``If``, a comparison or a logical operator), a bound of
``Clip``, the kink of an activation, or an argument of ``Max`` and ``Min``. What depends on no input
is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.core.names import visible
from harness.core.schema import Array
from harness.graphs import walk
from harness.graphs.attributes import attribute, constants
from harness.graphs.light import filled, light
from harness.graphs.walk import MAIN

COUNTS, MARGINS = "decisions_taken", "decisions_missed"
"""The outputs of a counting copy: for each decision how often it was true, and how often made; and
for each with a ``margin`` by how much it was true or, below 0, missed to be, and false likewise."""
LOWEST = -3e38
OPSET = 9
"""The first opset whose ``Less`` and ``Greater`` take every number."""
MOST = 10_000
UNREACHED = 1e30
"""A constant bound of this size is one in name only."""
CONDITIONS = (
    *("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal"),
    *("And", "Or", "Xor", "IsNaN", "IsInf"),
)
"""Operators whose result is a decision. What ``Not`` gives is the decision that it negates."""
PASSING = ("Not", "Identity")
KINKS = ("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Abs", "ThresholdedRelu")
"""Activations that bend at one value: 0, or the last one's ``alpha``."""
BENDS = ("HardSigmoid", "HardSwish")
"""Activations that are flat, or straight, beyond two values."""
SIZE, VALUE = 1, 2
"""How the inputs reach a tensor: by their sizes alone, or by their values."""
_BELOW, _ABOVE = "it is below its low end", "it is above its high end"


@dataclass(frozen=True)
class Decision:
    """A condition of a node; ``by_size`` where it depends on the inputs' sizes alone."""

    node: str
    operator: str
    condition: str
    by_size: bool
    margin: bool = False


def counting(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[Decision]]:
    """Return a copy whose outputs are of its decisions alone, and these, in the outputs' order.

    A graph of an older opset than ``OPSET``, or whose decisions are more than ``MOST``, has none;
    it is then returned itself.
    """
    if walk.opset(model) < OPSET:
        return model, []
    copy = light(model)
    names = {name for node in walk.nodes(copy.graph) for name in node.output}
    fresh = (name for n in count() if (name := f"decision_{n}") not in names)
    values = {value.name: VALUE for value in walk.inputs(copy.graph)}
    counter = _Counter(copy.graph, values, fresh, walk.opset(model))
    counts, decisions = counter.counts()
    if not decisions or len(decisions) > MOST:
        return model, []
    margins = counter.margins()
    del copy.graph.output[:], copy.graph.value_info[:]
    for name, source, kind in (
        (COUNTS, counts, TensorProto.INT64),
        (MARGINS, margins, TensorProto.FLOAT),
    ):
        copy.graph.node.append(helper.make_node("Identity", [source], [name]))
        copy.graph.output.append(helper.make_tensor_value_info(name, kind, [None]))
    return filled(copy, model), decisions


def _bends(node: Any) -> tuple[float, float]:
    """Return the two values at which one of ``BENDS`` bends."""
    if node.op_type == "HardSwish":
        return -3.0, 3.0
    alpha, beta = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
    return (-beta / alpha, (1 - beta) / alpha) if alpha > 0 else (-math.inf, math.inf)


class _Counter:
    """Adds to one graph, and to those nested in it, what counts decisions.

    ``reach`` says of every tensor that depends on an input how it does.
    """

    def __init__(
        self, graph: Any, reach: Mapping[str, int], fresh: Iterator[str], opset: int
    ) -> None:
        self._graph, self._reach, self._fresh, self._opset = graph, dict(reach), fresh, opset
        self._constants = constants(graph)
        self._makers = {name: node for node in graph.node for name in node.output}
        self._parts: list[str] = []
        self._margins: list[str] = []
        self._decisions: list[Decision] = []
        self._counted: set[str] = set()

    def counts(self) -> tuple[str, list[Decision]]:
        """Return the int64 vector of the counts, and the decisions that it counts."""
        for node in list(self._graph.node):
            reach = max((self._reach.get(name, 0) for name in walk.reads(node)), default=0)
            if reach and node.domain in MAIN:
                self._take(node)
            if node.op_type in ("Shape", "Size"):
                reach = min(reach, SIZE)
            if reach:
                self._reach |= dict.fromkeys(filter(None, node.output), reach)
        total = self._add("Concat", self._parts, axis=0) if self._parts else ""
        return total, self._decisions

    def margins(self) -> str:
        """Return the vector of the margins, which this graph's own decisions have."""
        return self._add("Concat", [*self._margins, self._constant(np.zeros(0, "f4"))], axis=0)

    def _take(self, node: Any) -> None:
        """Count the decisions of one node, whose inputs depend on those of the graph."""
        op = node.op_type
        if op in CONDITIONS:
            compared = (op, *node.input) if op.startswith(("Less", "Greater")) else ()
            self._count(node, "it is true", node.output[0], node.output[0], compared)
        elif op in ("Where", "If") and node.input[0] in self._reach:
            self._count(node, "its condition is true", node.input[0], self._origin(node.input[0]))
        elif op == "Clip":
            for slot, compare, what in ((1, "Less", _BELOW), (2, "Greater", _ABOVE)):
                self._bound(node, slot, compare, what)
        elif op in ("Max", "Min") and len(node.input) > 1:
            compare = "Less" if op == "Max" else "Greater"
            for number, name in enumerate(node.input):
                condition = f"argument {number} is not the one that it gives"
                self._compared(node, condition, compare, name, node.output[0])
        elif op in KINKS:
            bound = attribute(node, "alpha", 1.0) if op == "ThresholdedRelu" else 0.0
            self._against(node, f"its argument is below {bound:g}", "Less", bound)
        elif op in BENDS:
            for bound, compare, what in zip(
                _bends(node), ("Less", "Greater"), (_BELOW, _ABOVE), strict=True
            ):
                self._against(node, what, compare, bound)
        if op == "If":
            self._branches(node)
        elif op in ("Loop", "Scan"):
            self._repeated(node)

    def _bound(self, node: Any, slot: int, compare: str, what: str) -> None:
        name = walk.input_at(node, slot)
        if name and name in self._constants:
            value = float(np.ravel(numpy_helper.to_array(self._constants[name]))[0])
            if abs(value) < UNREACHED:
                self._compared(node, what, compare, node.input[0], name)
        elif name:
            self._compared(node, what, compare, node.input[0], name)
        elif (given := attribute(node, ("", "min", "max")[slot])) is not None:
            self._against(node, what, compare, float(given))

    def _against(self, node: Any, what: str, compare: str, bound: float) -> None:
        """Count where a node's first input is less or greater than a number."""
        if math.isfinite(bound) and abs(bound) < UNREACHED:
            value = self._add("Cast", [node.input[0]], to=TensorProto.FLOAT)
            self._compared(node, what, compare, value, self._constant(np.array(bound, np.float32)))

    def _compared(self, node: Any, what: str, compare: str, left: str, right: str) -> None:
        found = self._add(compare, [left, right])
        self._count(node, what, found, found, (compare, left, right))

    def _origin(self, name: str) -> str:
        """Return the condition that ``name`` is, or negates."""
        while (maker := self._makers.get(name)) is not None and maker.op_type in PASSING:
            name = maker.input[0]
        return name

    def _count(
        self, node: Any, what: str, condition: str, origin: str, compared: Sequence[str] = ()
    ) -> None:
        """Count where a tensor of truths is true, once for each ``origin``.

        It may be what two tensors, ``compared`` by an operator, give.
        """
        if origin in self._counted:
            return
        self._counted.add(origin)
        reached = max(self._reach.get(name, 0) for name in walk.reads(node))
        if node.op_type in ("Where", "If"):
            reached = self._reach[condition]
        label = visible(node.name or next(iter(node.output), ""))
        self._decisions.append(Decision(label, node.op_type, what, reached == SIZE, bool(compared)))
        if compared:
            self._miss(*compared)
        ones = self._add("Cast", [condition], to=TensorProto.INT32)
        some = self._add("Cast", [self._add("ReduceSum", [ones], keepdims=0)], to=TensorProto.INT64)
        for number in (some, self._add("Size", [condition])):
            self._parts.append(self._add("Reshape", [number, self._constant(np.array([1]))]))

    def _miss(self, compare: str, *names: str) -> None:
        """Take the margin, at most, by which two tensors compare as they should, and not."""
        left, right = (self._add("Cast", [name], to=TensorProto.FLOAT) for name in names)
        pairs = [(right, left), (left, right)]
        for larger, smaller in pairs if compare.startswith("Less") else reversed(pairs):
            margin = self._add("Sub", [larger, smaller])
            flat = self._add("Reshape", [margin, self._constant(np.array([-1]))])
            some = self._constant(np.array([LOWEST], np.float32))
            known = self._add("Concat", [flat, some], axis=0)
            self._margins.append(self._add("ReduceMax", [known], keepdims=1))

    def _branches(self, node: Any) -> None:
        """Count in both branches of an If; the one that does not run counts nothing."""
        inner = [self._inner(body) for body in walk.bodies(node)]
        made = [counter.counts() for counter in inner]
        sizes = [2 * len(decisions) for _, decisions in made]
        if not sum(sizes):
            return
        for number, counter in enumerate(inner):
            parts = [
                made[number][0] if place == number and size else counter._zeros(size)
                for place, size in enumerate(sizes)
            ]
            counter._publish(counter._add("Concat", parts, axis=0), sum(sizes))
        self._parts.append(self._joined(node, made))

    def _repeated(self, node: Any) -> None:
        """Count in the body of a Loop or Scan, and sum over its repetitions."""
        (body,) = walk.bodies(node)
        inner = self._inner(body)
        total, decisions = inner.counts()
        if not decisions:
            return
        results = len(body.output) - (node.op_type == "Loop")
        node.output.extend([""] * (results - len(node.output)))
        inner._publish(total, 2 * len(decisions))
        for entry in node.attribute:
            if entry.name in ("scan_output_axes", "scan_output_directions"):
                entry.ints.append(0)
        each = self._joined(node, [(total, decisions)])
        if self._opset < 13:
            self._parts.append(self._add("ReduceSum", [each], axes=[0], keepdims=0))
        else:
            first = self._constant(np.array([0]))
            self._parts.append(self._add("ReduceSum", [each, first], keepdims=0))

    def _inner(self, body: Any) -> _Counter:
        reach = {**self._reach, **{value.name: VALUE for value in body.input}}
        return _Counter(body, reach, self._fresh, self._opset)

    def _joined(self, node: Any, made: Sequence[tuple[str, list[Decision]]]) -> str:
        """Add an output for the counts in a node's bodies."""
        inner = (decision for _, decisions in made for decision in decisions)
        self._decisions += [replace(decision, margin=False) for decision in inner]
        node.output.append(next(self._fresh))
        return str(node.output[-1])

    def _publish(self, name: str, size: int) -> None:
        """Make the counts an output of the body."""
        value = helper.make_tensor_value_info(name, TensorProto.INT64, [size])
        self._graph.output.append(value)

    def _zeros(self, size: int) -> str:
        return self._constant(np.zeros(size, np.int64))

    def _add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = next(self._fresh)
        self._graph.node.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def _constant(self, value: Array) -> str:
        tensor = numpy_helper.from_array(value)
        return self._add("Constant", [], value=tensor)
