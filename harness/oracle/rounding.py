"""The outputs of an ONNX file in float64, and their noise: how far rounding alone moves them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

from harness.core.errors import RunError
from harness.core.registry import resolve
from harness.core.schema import Array, Arrays
from harness.goldens.noise_floor import DRAWS, jittered
from harness.graphs import interface, walk
from harness.graphs.attributes import tensors

EXACT = "harness.oracle.runtime:ORACLE"
ROUNDED = "harness.oracle.runtime:DECLARED"
SIZED_BY_VALUES = ("Resize", "Upsample")
MOVED = ("float64", "float32", "float16")
FLOATS = ("float64", "float32", "float16", "bfloat16")

Measured = list[tuple[Arrays, list[Arrays]]]


def measure(model: Path, inputs: Sequence[Arrays], draws: int = DRAWS) -> Measured:
    """Return, for each set of inputs, the outputs in float64 and those of ``draws`` rounded runs.

    Those are of the same graph in its own types, by the same evaluator. The errors of a single run
    are chance: in all but the first the weights are moved by up to one ulp (``jittered``).

    CheckError, LoadError or RunError, in one line, where the oracle cannot read, load or run the
    model, or where an output is no tensor.
    """
    proto = interface.read(str(model))
    exact, rounded = resolve(EXACT).open(proto), resolve(ROUNDED)
    runs: Measured = [(_tensors(exact.run(feeds)), []) for feeds in inputs]
    for draw in range(max(draws, 1)):
        coarse = rounded.open(jittered_model(proto, draw))
        for feeds, (_, actual) in zip(inputs, runs, strict=True):
            actual.append(_tensors(coarse.run(feeds)))
    return runs


def noises(measured: Measured) -> list[dict[str, float]]:
    """Return the largest absolute error of each output, in each set of ``measure``'s outputs.

    It is 0 for other outputs than floats. RunError where a run has another shape, or where rounding
    alone makes a finite value infinite.
    """
    return [
        {
            name: max(_error(name, value, actual[name]) for actual in rounded)
            for name, value in exact.items()
        }
        for exact, rounded in measured
    ]


def jittered_model(model: Any, draw: int) -> Any:
    """Return a ModelProto with weights moved by up to one ulp; draw 0 moves none.

    Weights are the floating-point initializers and constants of more than one element, also of
    nested graphs and functions, but not those whose values decide the shape of a result.
    """
    if draw == 0:
        return model
    near = deepcopy(model)
    nodes = list(walk.nodes(near.graph, *near.functions))
    graphs = [near.graph, *(body for node in nodes for body in walk.bodies(node))]
    weights = [(tensor.name, tensor) for graph in graphs for tensor in graph.initializer]
    holders = [node for node in nodes if node.op_type == "Constant"]
    weights += [(node.output[0], tensor) for node in holders for tensor in tensors(node)]
    sizes = {name for node in nodes if node.op_type in SIZED_BY_VALUES for name in node.input[1:]}
    tensor_of = {str(n): tensor for n, (name, tensor) in enumerate(weights) if name not in sizes}
    values = {number: numpy_helper.to_array(tensor) for number, tensor in tensor_of.items()}
    values = {n: v for n, v in values.items() if v.dtype.name in MOVED and v.size > 1}
    for number, moved in jittered(values, draw).items():
        tensor = tensor_of[number]
        tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    return near


def _tensors(outputs: list[tuple[str, Any]]) -> Arrays:
    for name, value in outputs:
        if not isinstance(value, (np.ndarray, np.generic)):
            raise RunError(f"output {name} is a {type(value).__name__}; only tensors are measured")
    return {name: np.asarray(value) for name, value in outputs}


def _error(name: str, expected: Array, actual: Array) -> float:
    """Return the largest absolute error; places with the same infinity or NaN agree."""
    if not _floating(expected):
        return 0.0
    if expected.shape != actual.shape:
        raise RunError(
            f"output {name} has shape {actual.shape} in its own type, {expected.shape} in float64"
        )
    actual = actual.astype(np.float64)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    with np.errstate(invalid="ignore", over="ignore"):
        largest = float(np.abs(actual - expected)[~same].max(initial=0.0))
    if not np.isfinite(largest):
        raise RunError(f"rounding alone makes values of output {name} infinite or NaN")
    return largest


def _floating(value: Array) -> bool:
    return value.dtype.name in FLOATS
