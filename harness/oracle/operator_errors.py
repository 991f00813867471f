"""What the errors of a runtime's operators do to a graph's outputs, apart from the export's.

A sigmoid that is off by 1e-7 moves all that is computed from it. The graph is evaluated in float64
as it is, and with the results of such operators moved by their known errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.operator_errors import REDUCTIONS, Errors, OfLargest
from harness.core.schema import Array, Arrays
from harness.core.tolerance import Row, largest_finite
from harness.graphs import walk
from harness.graphs.recurrent import RECURRENT

SAME_VALUES = {
    *("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather"),
    *("GatherND", "GatherElements", "Concat", "Split", "Where", "Expand", "Pad", "Tile", "Cast"),
    *("ScatterND", "ScatterElements", "ReverseSequence", "Max", "Min", "Clip", "Relu"),
}
"""Operators whose results are values that they read."""
Sign = Callable[[tuple[int, ...]], Any]


@dataclass(frozen=True)
class Disturbance:
    """Moves the results of operators by their errors, in directions that ``sign`` gives."""

    errors: Errors
    of_largest: OfLargest
    sign: Sign

    def of(self, op_type: str, value: Any, read: Any = None) -> Any:
        """Return a result, moved; a reduction's error is by how much it ``read`` for each value."""
        if getattr(value, "dtype", None) != np.float64 or not value.size:
            return value
        error = self.errors.get(op_type, 0.0)
        if op_type in self.of_largest:
            factor, power = self.of_largest[op_type]
            largest = largest_finite(value)
            reduced = np.size(read) // value.size
            length = reduced if op_type in REDUCTIONS else max(value.shape, default=1)
            error = factor * length**power * 2.0**-24 * largest
        return value + error * self.sign(value.shape) if error else value


_ACTIVE: ContextVar[Disturbance | None] = ContextVar("disturbance", default=None)


def disturbed(op_type: str, value: Any, read: Any = None) -> Any:
    """Return an operator's result, moved where a disturbance is active (``disturbing``)."""
    disturbance = _ACTIVE.get()
    return value if disturbance is None else disturbance.of(op_type, value, read)


@contextmanager
def disturbing(disturbance: Disturbance) -> Iterator[None]:
    token = _ACTIVE.set(disturbance)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def at_outputs(model: Any, errors: Errors) -> dict[str, float]:
    """Return the error of each output that operators with errors give themselves; others not.

    A recurrent layer's output is a product of two activations, none above 1.
    """
    makers = {name: node for node in model.graph.node for name in node.output if name}
    known = {**errors, **{name: _recurrent(name, errors) for name in RECURRENT}}
    found: dict[str, float] = {}
    for value in model.graph.output:
        error, seen, todo = 0.0, set(), [value.name]
        while todo:
            node = makers.get(name := todo.pop())
            if node is None or name in seen:
                continue
            seen.add(name)
            error = max(error, known.get(node.op_type, 0.0))
            if node.op_type in SAME_VALUES:
                todo += [name for name in node.input if name]
        if error:
            found[value.name] = error
    return found


def _recurrent(op_type: str, errors: Errors) -> float:
    return sum(errors.get(name, 0.0) for name in dict.fromkeys(RECURRENT[op_type].activations))


def moved(session: Any, exact: Arrays, row: Row, inputs: Arrays) -> Arrays:
    """Return how far operators' errors move each value of an oracle's session's ``exact`` outputs.

    The errors are all up, all down, and twice of random sign. A value is moved as far as the one
    that is moved farthest in its row and step.
    """
    bounds = {name: np.zeros(np.shape(value)) for name, value in exact.items()}
    rng = np.random.default_rng(0)
    signs: list[Sign] = [lambda _: 1.0, lambda _: -1.0]
    signs += [lambda shape: rng.choice((-1.0, 1.0), shape)] * 2
    for sign in signs:
        with disturbing(Disturbance(row.operators, row.of_largest, sign)):
            for name, value in session.run(inputs):
                with np.errstate(invalid="ignore"):
                    distance = np.abs(np.asarray(value, np.float64) - exact[name])
                bounds[name] = np.fmax(bounds[name], distance)
    return {name: _along(value) for name, value in bounds.items()}


def _along(bound: Array) -> Array:
    axes = tuple(range(2, bound.ndim)) or (bound.ndim - 1,)
    return np.broadcast_to(bound.max(axes, keepdims=True), bound.shape) if bound.ndim else bound


def has_any(model: Any, row: Row) -> list[str]:
    """Return the operators of a graph, nested graphs and functions that have errors."""
    kinds = {node.op_type for node in walk.nodes(model.graph, *model.functions)}
    inner = {name for kind in kinds & set(RECURRENT) for name in RECURRENT[kind].activations}
    return sorted((kinds | inner) & (set(row.operators) | set(row.of_largest)))
