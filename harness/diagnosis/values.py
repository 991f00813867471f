"""Every tensor of a graph: in float64 by the oracle, and as a runtime computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from harness.core.errors import StageError, one_line
from harness.core.schema import Array, Arrays, Runtime
from harness.core.tolerance import largest_finite
from harness.graphs.inference import declared_types
from harness.graphs.recurrent import Y, is_recurrent
from harness.graphs.view import Net

SAME = 1e-10
"""Two float64 evaluations of one formula differ by less than this part of its scale."""

ROUNDING = 32 * float(np.finfo(np.float32).eps)
"""A node of float32 errs by more than this part of its output's scale only by a fault."""


@dataclass(frozen=True)
class Failure:
    """The node that fails when it runs, by its number, and why."""

    node: int
    reason: str


class Exact:
    """A graph whose tensors are all evaluated in float64; it may fail at a node.

    Any exception of the evaluator where the graph cannot be evaluated in float64 at all.
    """

    def __init__(self, net: Net) -> None:
        from harness.oracle.evaluator import Evaluator
        from harness.oracle.widen import widen

        self._evaluator: Any = Evaluator(widen(net.model))
        self._nodes = list(self._evaluator.rt_nodes_)
        self._names = [net.makes(number) for number in range(len(net.nodes))]
        self._constants = {n: _wide(v) for n, v in net.constants.items()}

    def all(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Failure | None]:
        """Return every tensor, or those before the first node that fails, and that failure."""
        wide = {name: _wide(value) for name, value in inputs.items()}
        values: Arrays = {}

        def reason(count: int) -> str:
            nonlocal values
            names = [name for outputs in self._names[:count] for name in outputs]
            try:
                values = self._run(self._nodes[:count], names, wide)
            except Exception as error:
                return one_line(error)
            return ""

        count = len(self._nodes)
        why = reason(count)
        failure = _first_failure(count, why, reason) if why else None
        return {**self._constants, **wide, **values}, failure

    def node(self, number: int, values: Mapping[str, Array]) -> Arrays:
        """Return the outputs of one node for the tensors that it reads."""
        wide = {name: _wide(value) for name, value in values.items()}
        return self._run(self._nodes[number : number + 1], self._names[number], wide)

    def _run(self, nodes: Sequence[Any], names: Sequence[str], inputs: Arrays) -> Arrays:
        self._evaluator.rt_nodes_ = list(nodes)
        with np.errstate(all="ignore"):
            values = self._evaluator.run(names, inputs) if names else []
        return dict(zip(names, values, strict=True))


def _first_failure(count: int, why: str, reason: Callable[[int], str]) -> Failure:
    """Bisect for the first node that fails among ``count``, which fail together for ``why``.

    ``reason`` returns why the first so many nodes do not run, empty where they do. The last call
    that succeeds is the one with all nodes before the failure.
    """
    runs, fails = 0, count
    while fails - runs > 1:
        middle = (runs + fails) // 2
        if middle_reason := reason(middle):
            fails, why = middle, middle_reason
        else:
            runs = middle
    return Failure(fails - 1, why)


def observe(
    net: Net, tensors: Sequence[str], runtime: Runtime, inputs: Arrays, folder: Path
) -> Arrays:
    """Return the named tensors, and the graph's outputs, as a runtime computes them.

    They become outputs of a copy of the model, which a runtime that optimises may run in another
    way than the model itself. StageError where it does not load or run.
    """
    path = folder / "exposed.onnx"
    onnx.save_model(exposed(net.model, [t for t in tensors if t not in net.outputs]), path)
    return dict(runtime.prepare(str(path)).run(inputs))


def exposed(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Return a copy with more outputs, typed as far as they can be inferred."""
    shown = deepcopy(model)
    types = declared_types(model)
    for name in tensors:
        shown.graph.output.append(types.get(name, onnx.ValueInfoProto(name=name)))
    return shown


def runs_up_to(net: Net, runtime: Runtime, inputs: Arrays | None, folder: Path) -> Failure | None:
    """Return the first node with which a runtime does not load the graph, or run it at ``inputs``.

    It is the one that the runtime names, if it does; else the graph is cut after each of some
    nodes, which a bisection chooses. None where all of it runs.
    """

    def reason(count: int) -> str:
        cut = deepcopy(net.model)
        del cut.graph.node[count:], cut.graph.output[:]
        names = [name for i in range(count) for name in net.makes(i)]
        read = {name for i in range(count) for name in net.reads(i)}
        types = declared_types(net.model)
        for name in [n for n in names if n not in read or n in net.outputs]:
            cut.graph.output.append(types.get(name, onnx.ValueInfoProto(name=name)))
        path = folder / "cut.onnx"
        onnx.save_model(cut, path)
        try:
            session = runtime.prepare(str(path))
            if inputs is not None:
                session.run(inputs)
        except StageError as error:
            return str(error) or type(error).__name__
        return ""

    message = reason(len(net.nodes))
    named = [i for i, node in enumerate(net.nodes) if len(node.name) > 3 and node.name in message]
    if named:
        return Failure(max(named, key=lambda i: len(net.nodes[i].name)), message)
    return _first_failure(len(net.nodes), message, reason) if message else None


def apart(actual: Array | None, expected: Array | None) -> float:
    """Return the largest absolute difference; infinite where the two cannot be subtracted."""
    if actual is None or expected is None:
        return 0.0 if actual is expected else float("inf")
    actual, expected = np.asarray(actual), np.asarray(expected)
    discrete = [array.dtype.kind in "bOSU" for array in (actual, expected)]
    if actual.shape != expected.shape or discrete[0] != discrete[1]:
        return float("inf")
    if discrete[0]:
        return float((actual != expected).any())
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(actual - expected))
    return float(np.nan_to_num(error, nan=np.inf).max(initial=0.0))


def scale(value: Array | None) -> float:
    """Return the largest finite magnitude of a tensor, at least the smallest normal float32."""
    smallest = float(np.finfo(np.float32).tiny)
    return smallest if value is None else max(largest_finite(np.asarray(value)), smallest)


def agree(actual: Array | None, expected: Array | None) -> bool:
    """Return whether two tensors in float64 are the same but for rounding in float64."""
    return apart(actual, expected) <= SAME * scale(expected)


def first_step(
    net: Net, number: int, actual: Arrays, expected: Arrays, beyond: float = ROUNDING
) -> int | None:
    """Return the first step (axis 0) at which a recurrent node's Y departs by ``beyond`` its scale.

    None where the node is not recurrent, or its Y does not depart or is not known.
    """
    node = net.nodes[number]
    name = node.output[Y] if is_recurrent(node) and node.output else ""
    y, y_expected = actual.get(name), expected.get(name)
    if y is None or y_expected is None or y.shape != y_expected.shape or not y.size:
        return None
    error = np.abs(np.asarray(y, np.float64) - y_expected).reshape(len(y), -1).max(axis=1)
    wrong = ~(error <= beyond * scale(y_expected))
    return int(wrong.argmax()) if wrong.any() else None


def _wide(value: Any) -> Any:
    from harness.oracle.widen import widen_value

    return widen_value(value)
