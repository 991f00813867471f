"""The steps of an unrolled loop, matched with each other, as one step with what it carries."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten
SIZES = {aten.sym_size.int, operator.add, operator.sub, operator.mul, operator.floordiv}
TAKING = {aten.select.int, aten.slice.Tensor, aten.unsqueeze.default, aten.narrow.default}
"""What takes a step from a tensor; nothing but these is no step."""


class NotALoopError(Exception):
    """What was found is no loop that can be written as one step."""


@dataclass(frozen=True)
class Indexed:
    """A number that is ``slope * step + start``."""

    slope: int
    start: int


@dataclass(frozen=True)
class Every:
    """The values that a node has at every step of an earlier loop."""

    loop: Loop
    place: int


@dataclass(eq=False)
class Loop:
    """A run of ``count`` steps over an axis that has ``length`` in the trace.

    ``body`` takes the carried values, the step, the steps after it, and what is read from outside;
    ``local`` has a body's node for each node of a step.
    """

    steps: list[list[fx.Node]]
    size: fx.Node
    length: int
    earlier: Sequence[Loop]
    body: fx.Graph = field(default_factory=fx.Graph)
    local: list[fx.Node] = field(default_factory=list)
    carried: dict[tuple[int, Any], fx.Node] = field(default_factory=dict)
    read: dict[Any, fx.Node] = field(default_factory=dict)
    places: dict[fx.Node, tuple[int, int]] = field(default_factory=dict)
    kept: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.steps)

    @property
    def skipped(self) -> int:
        """Steps that come before the first one, so that there is one at the length 1."""
        return max(0, self.length - self.count)

    def match(self) -> None:
        """Write the body; NotALoopError where the steps are not alike."""
        self.places = {n: (t, p) for t, step in enumerate(self.steps) for p, n in enumerate(step)}
        self._carry = self.body.placeholder("carried")
        self._step = self.body.placeholder("step")
        self._back = self.body.placeholder("back")
        self._read = self.body.placeholder("read")
        for place in range(len(self.steps[0])):
            self.local.append(self._node([step[place] for step in self.steps]))

    def keep(self, place: int) -> None:
        """Have the values of a node at every step among the loop's results."""
        if place not in self.kept:
            self.kept.append(place)

    def _node(self, nodes: Sequence[fx.Node]) -> fx.Node:
        """Return a node of the body that stands for one at each step."""
        first = nodes[0]
        if len({n.target for n in nodes}) > 1 or first.op != "call_function":
            raise NotALoopError
        args = self._value([tuple(n.args) for n in nodes])
        kwargs = self._value([dict(n.kwargs) for n in nodes])
        target: Any = first.target
        if target is aten.select.int and isinstance(args[2], Indexed):
            at = self._index(args[2], args[0], args[1])
            row = self.body.call_function(aten.index_select.default, (args[0], args[1], at))
            return self.body.call_function(aten.squeeze.dim, (row, args[1]))
        if target is aten.slice.Tensor and any(isinstance(a, Indexed) for a in args):
            return self._narrowed(args)
        if target is aten.narrow.default and isinstance(start := args[2], Indexed):
            end = Indexed(start.slope, start.start + args[3])
            return self._narrowed((*args[:2], start, end))
        flat = [a for a in (*args, *kwargs.values()) if isinstance(a, Indexed)]
        if flat and isinstance(target, torch._ops.OpOverload):
            args = tuple(self._number(a) if isinstance(a, Indexed) else a for a in args)
            target = target.overloadpacket
        elif flat:
            raise NotALoopError
        return self.body.call_function(target, args, kwargs)

    def _narrowed(self, args: Any) -> fx.Node:
        tensor, dim, start, end = args[:4]
        same = isinstance(start, Indexed) and isinstance(end, Indexed)
        if not same or start.slope != end.slope or len(args) > 4:
            raise NotALoopError
        at = self._index(start, tensor, dim)
        if end.start - start.start != 1:
            wide = self.body.call_function(torch.arange, (end.start - start.start,))
            at = self.body.call_function(operator.add, (at, wide))
        return self.body.call_function(aten.index_select.default, (tensor, dim, at))

    def _number(self, index: Indexed) -> fx.Node:
        """Return a number of the step, as a tensor without axes."""
        at = self._index(index, None, 0)
        return self.body.call_function(aten.squeeze.dim, (at, 0))

    def _index(self, index: Indexed, tensor: Any, dim: int, before: int = 0) -> fx.Node:
        """Return an index of the step, [1]; it is 0 or more at the steps before the first."""
        call = self.body.call_function
        step = call(operator.sub, (self._step, self.skipped)) if self.skipped else self._step
        at = call(operator.mul, (step, index.slope)) if index.slope != 1 else step
        start: Any = index.start + before
        if index.slope == -1 and index.start >= 0 and self.count <= self.length:
            back = self._back
            if self.skipped:
                back = call(operator.add, (back, call(aten.clamp.default, (step, None, 0))))
            return call(operator.add, (back, start + 1 + self.skipped - self.length))
        if index.slope < 0 or index.start < 0:
            raise NotALoopError
        at = call(operator.add, (at, start))
        return call(aten.clamp.default, (at, 0)) if self.skipped and index.slope > 0 else at

    def _value(self, values: Sequence[Any]) -> Any:
        """Return what a step of the body has where the steps have ``values``."""
        first = values[0]
        if isinstance(first, fx.Node):
            return self._seen(values)
        if isinstance(first, list | tuple):
            if len({len(v) for v in values}) > 1:
                raise NotALoopError
            return type(first)(self._value(v) for v in zip(*values, strict=True))
        if isinstance(first, dict):
            return {k: self._value([v[k] for v in values]) for k in first}
        if all(v == first for v in values):
            return first
        if all(type(v) is int for v in values):
            slope = values[1] - first
            if all(v == first + slope * t for t, v in enumerate(values)):
                return Indexed(slope, first)
        raise NotALoopError

    def _seen(self, values: Sequence[Any]) -> fx.Node:
        if not all(isinstance(v, fx.Node) for v in values):
            raise NotALoopError
        first = values[0]
        at = [self.places.get(v) for v in values]
        if at[0] is not None:
            place = at[0][1]
            if at != [(t, place) for t in range(self.count)] or place >= len(self.local):
                raise NotALoopError
            return self.local[place]
        if all(v is first for v in values):
            return self._outer(first)
        if at[1] is not None:
            place = at[1][1]
            if at[1:] != [(t, place) for t in range(self.count - 1)]:
                raise NotALoopError
            return self._carried(place, first)
        if any(a is not None for a in at):
            raise NotALoopError
        for loop in self.earlier:
            if (then := [loop.places.get(v) for v in values])[0] is not None:
                return self._row(loop, then)
        return self._node(values)

    def _row(self, loop: Loop, then: Sequence[Any]) -> fx.Node:
        if None in then or len({place for _, place in then}) > 1:
            raise NotALoopError
        index = self._value([t for t, _ in then])
        if not isinstance(index, Indexed) or abs(index.slope) != 1:
            raise NotALoopError
        place = then[0][1]
        loop.keep(place)
        rows = self._get(Every(loop, place), self.read, self._read)
        at = self._index(Indexed(index.slope, index.start), None, 0, loop.skipped)
        row = self.body.call_function(aten.index_select.default, (rows, 0, at))
        return self.body.call_function(aten.squeeze.dim, (row, 0))

    def _outer(self, node: fx.Node) -> fx.Node:
        """Return a value from outside; a size is computed anew, as a scan takes tensors alone."""
        if node.target in SIZES and not isinstance(node.meta.get("val"), torch.Tensor):
            args = [self._outer(a) if isinstance(a, fx.Node) else a for a in node.args]
            return self.body.call_function(node.target, tuple(args))
        if any(node in loop.places for loop in self.earlier):
            loop = next(loop for loop in self.earlier if node in loop.places)
            loop.keep(loop.places[node][1])
        return self._get(node, self.read, self._read)

    def _carried(self, place: int, start: fx.Node) -> fx.Node:
        for loop in self.earlier:
            if start in loop.places:
                loop.keep(loop.places[start][1])
        return self._get((place, start), self.carried, self._carry)

    def _get(self, key: Any, table: dict[Any, fx.Node], source: fx.Node) -> fx.Node:
        if key not in table:
            table[key] = self.body.call_function(operator.getitem, (source, len(table)))
        return table[key]
