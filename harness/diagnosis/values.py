"""Every tensor of a graph: in float64 by the oracle, and as a runtime computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from harness.core.errors import StageError, one_line
from harness.core.schema import Array, Arrays, Runtime
from harness.graphs.inference import declared_types
from harness.graphs.recurrent import Y, is_recurrent
from harness.graphs.view import Net

SAME = 1e-10
"""Two float64 evaluations of one formula differ by less than this part of its scale."""

ROUNDING = 32 * float(np.finfo(np.float32).eps)
"""No node of float32 errs by more than this part of its output's scale, other than by a fault."""


@dataclass(frozen=True)
class Failure:
    """The node that fails when it runs, by its number, and why."""

    node: int
    reason: str


class Exact:
    """A graph whose tensors are all evaluated in float64; it may fail at a node.

    Raises what the evaluator raises where the graph cannot be evaluated in float64 at all.
    """

    def __init__(self, net: Net) -> None:
        from harness.oracle.evaluator import Evaluator
        from harness.oracle.widen import widen

        self._evaluator: Any = Evaluator(widen(net.model))
        self._nodes = list(self._evaluator.rt_nodes_)
        self._names = [net.makes(number) for number in range(len(net.nodes))]
        self._constants = {n: _wide(v) for n, v in net.constants.items()}

    def all(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Failure | None]:
        """Every tensor's value; where a node fails, those of the nodes before it."""
        fed = {name: _wide(value) for name, value in inputs.items()}
        count = len(self._nodes)
        try:
            return self._known(fed, self._first(count, fed)), None
        except Exception as error:
            reason = one_line(error)
        runs, fails = 0, count
        values: Arrays = {}
        while fails - runs > 1:
            middle = (runs + fails) // 2
            try:
                values = self._first(middle, fed)
                runs = middle
            except Exception as error:
                fails, reason = middle, one_line(error)
        return self._known(fed, values), Failure(fails - 1, reason)

    def node(self, number: int, values: Mapping[str, Array]) -> Arrays:
        """What one node gives for the tensors that it reads."""
        fed = {name: _wide(value) for name, value in values.items()}
        return self._run(self._nodes[number : number + 1], self._names[number], fed)

    def _first(self, count: int, fed: Arrays) -> Arrays:
        names = [name for made in self._names[:count] for name in made]
        return self._run(self._nodes[:count], names, fed)

    def _run(self, nodes: Sequence[Any], names: Sequence[str], fed: Arrays) -> Arrays:
        self._evaluator.rt_nodes_ = list(nodes)
        with np.errstate(all="ignore"):
            values = self._evaluator.run(names, fed) if names else []
        return dict(zip(names, values, strict=True))

    def _known(self, fed: Arrays, values: Arrays) -> Arrays:
        return {**self._constants, **fed, **values}


def observed(
    net: Net, tensors: Sequence[str], runtime: Runtime, inputs: Arrays, folder: Path
) -> Arrays:
    """The named tensors, and the graph's outputs, as a runtime computes them.

    They become outputs of a copy of the model, which a runtime that optimises may run in another
    way than the model itself. StageError where it does not load or run.
    """
    path = folder / "exposed.onnx"
    onnx.save_model(exposed(net.model, [t for t in tensors if t not in net.outputs]), path)
    return dict(runtime.prepare(str(path)).run(inputs))


def exposed(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy with more outputs, typed as far as inference tells."""
    shown = deepcopy(model)
    known = declared_types(model)
    for name in tensors:
        shown.graph.output.append(known.get(name, onnx.ValueInfoProto(name=name)))
    return shown


def runs_up_to(net: Net, runtime: Runtime, inputs: Arrays | None, folder: Path) -> Failure | None:
    """The first node with which a runtime fails to load the graph, or to run it at ``inputs``.

    It is the one that the runtime names, if it does; else the graph is cut after each of some
    nodes, which a bisection chooses. None where the whole runs.
    """

    def reason(count: int) -> str | None:
        cut = deepcopy(net.model)
        del cut.graph.node[count:], cut.graph.output[:]
        made = [name for i in range(count) for name in net.makes(i)]
        read = {name for i in range(count) for name in net.reads(i)}
        known = declared_types(net.model)
        for name in [n for n in made if n not in read or n in net.outputs]:
            cut.graph.output.append(known.get(name, onnx.ValueInfoProto(name=name)))
        path = folder / "cut.onnx"
        onnx.save_model(cut, path)
        try:
            session = runtime.prepare(str(path))
            if inputs is not None:
                session.run(inputs)
        except StageError as error:
            return str(error)
        return None

    told = reason(len(net.nodes))
    if told is None:
        return None
    named = [i for i, node in enumerate(net.nodes) if len(node.name) > 3 and node.name in told]
    if named:
        return Failure(max(named, key=lambda i: len(net.nodes[i].name)), told)
    runs, fails = 0, len(net.nodes)
    while fails - runs > 1:
        middle = (runs + fails) // 2
        found = reason(middle)
        if found is None:
            runs = middle
        else:
            fails, told = middle, found
    return Failure(fails - 1, told)


def apart(actual: Array | None, expected: Array | None) -> float:
    """The largest absolute difference; infinite where the two cannot be subtracted."""
    if actual is None or expected is None:
        return 0.0 if actual is expected else float("inf")
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape or (actual.dtype.kind in "bOSU") != (
        expected.dtype.kind in "bOSU"
    ):
        return float("inf")
    if actual.dtype.kind in "bOSU":
        return float((actual != expected).any())
    one, other = actual.astype(np.float64), expected.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(one - other))
    return float(np.nan_to_num(error, nan=np.inf).max(initial=0.0))


def scale(value: Array | None) -> float:
    """The largest finite magnitude of a tensor, at least the smallest normal float32."""
    smallest = float(np.finfo(np.float32).tiny)
    if value is None or np.asarray(value).dtype.kind in "OSU":
        return smallest
    wide = np.abs(np.asarray(value).astype(np.float64))
    return max(float(wide[np.isfinite(wide)].max(initial=0.0)), smallest)


def agree(actual: Array | None, expected: Array | None) -> bool:
    """Whether two tensors in float64 are the same but for rounding in float64."""
    return apart(actual, expected) <= SAME * scale(expected)


def first_step(
    net: Net, number: int, actual: Arrays, expected: Arrays, beyond: float = ROUNDING
) -> int | None:
    """The first step, along axis 0, at which Y of a recurrent node departs by a part of its scale.

    None where the node is no recurrent one, its Y does not depart, or it is not known.
    """
    node = net.nodes[number]
    name = node.output[Y] if is_recurrent(node) and node.output else ""
    one, two = actual.get(name), expected.get(name)
    if one is None or two is None or one.shape != two.shape or not one.size:
        return None
    error = np.abs(np.asarray(one, np.float64) - two).reshape(len(one), -1).max(axis=1)
    wrong = ~(error <= beyond * scale(two))
    return int(wrong.argmax()) if wrong.any() else None


def _wide(value: Any) -> Any:
    from harness.oracle.widen import widen_value

    return widen_value(value)
