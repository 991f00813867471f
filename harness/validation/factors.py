"""A factor beside a root of a size, as somebody may have written it down, or an ULP off: which.

0.7071068 is beside what float32 makes of 1/√2, and 0.50000006 beside 1/√4. What the model itself
computes in float64 decides: where the graph with the exact root is much nearer to it, the model has
that root.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from harness.accounting import scales
from harness.accounting.form import Account
from harness.accounting.scales import NearRoot
from harness.core.schema import Case, GoldenCase
from harness.goldens.store import Golden
from harness.graphs import interface, walk
from harness.graphs.attributes import tensors
from harness.oracle.evaluator import Evaluator
from harness.oracle.widen import widen, widen_value

NEARER = 8.0
"""How many times nearer the exact root is where the model has it."""
ENOUGH = 3
"""The length, along every axis, from which a case is long enough to show what a weight does"""


def telling(case: Case) -> tuple[bool, int]:
    """Return a key by which the smallest case that shows what a weight does is the first."""
    return min(case.lengths.values(), default=ENOUGH) < ENOUGH, case.longest * case.batch


def off(path: Path, golden: Golden, account: Account) -> str:
    """Return what is wrong with a factor of the graph in a file; empty where nothing is."""
    sizes = {size for parameter in account.parameters for size in parameter.shape}
    model = interface.read(str(path))
    doubtful = {
        name: beside
        for name, tensor in _singles(model)
        if (beside := scales.doubtful(numpy_helper.to_array(tensor), sizes))
    }
    if not doubtful:
        return ""
    case = golden.load(min(golden.cases, key=telling))
    try:
        wide = widen(model)
    except Exception:  # of what the oracle does not know: the outputs alone are compared
        return ""
    as_it_is = _error(wide, golden, case)
    for name, beside in doubtful.items():
        if _error(_with(wide, name, beside), golden, case) * NEARER < as_it_is:
            return f"weights: constant {name!r} {beside.text}"
    return ""


def _singles(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield every single number of the graph with its name."""
    nodes = list(walk.nodes(model.graph, *model.functions))
    graphs = [model.graph, *(body for node in nodes for body in walk.bodies(node))]
    held = [(tensor.name, tensor) for graph in graphs for tensor in graph.initializer]
    held += [(n.output[0], t) for n in nodes if n.op_type == "Constant" for t in tensors(n)]
    for name, tensor in held:
        if np.prod(tensor.dims, dtype=np.int64) == 1:
            yield name, tensor


def _with(wide: Any, name: str, beside: NearRoot) -> Any:
    """Return a widened graph whose constant ``name`` is the exact root."""
    changed = type(wide)()
    changed.CopyFrom(wide)
    for each, tensor in _singles(changed):
        if each == name:
            exact = np.full(tuple(tensor.dims), beside.exact)
            tensor.CopyFrom(numpy_helper.from_array(exact, tensor.name))
    return changed


def _error(wide: Any, golden: Golden, case: GoldenCase) -> float:
    """Return how far a graph in float64 is from the model; infinite where it does not run."""
    feeds = {name: widen_value(value) for name, value in case.inputs.items()}
    try:
        evaluator = Evaluator(wide)
        with np.errstate(all="ignore"):
            outputs = dict(zip(evaluator.output_names, evaluator.run(None, feeds), strict=True))
    except Exception:
        return float("inf")
    worst = 0.0
    for tensor in golden.spec.outputs:
        expected = case.outputs[tensor.name]
        actual = outputs.get(tensor.name)
        if expected.dtype.kind != "f" or actual is None:
            continue
        actual = tensor.at_steps(np.asarray(actual), case.steps)
        if actual.shape != expected.shape:
            return float("inf")
        apart = np.abs(actual - expected)
        worst = max(worst, float(apart[np.isfinite(apart)].max(initial=0.0)))
    return worst
