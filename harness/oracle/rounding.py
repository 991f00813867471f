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
from harness.goldens.noise_floor import DRAWS, NEARBY
from harness.graphs import interface, walk
from harness.graphs.attributes import tensors

EXACT = "harness.oracle.runtime:ORACLE"
ROUNDED = "harness.oracle.runtime:DECLARED"
SIZED_BY_VALUES = ("Resize", "Upsample")
FLOATS = ("float64", "float32", "float16", "bfloat16")

Measured = list[tuple[Arrays, dict[str, float]]]


def measure(model: Path, inputs: Sequence[Arrays], draws: int = DRAWS) -> Measured:
    """Return, for each set of inputs, the outputs in float64 and the noise of each.

    The noise of a floating-point output is its largest absolute error in ``draws`` runs of the same
    graph in its own types, by the same evaluator. The largest error of a single run is chance: in
    all but the first the weights are moved by up to ``NEARBY`` of their size, in float64 too, which
    changes the rounding errors but hardly the mathematics. Other outputs have noise 0.

    CheckError, LoadError or RunError, in one line, where the oracle cannot read, load or run the
    model, where an output is no tensor, or where rounding alone makes a finite output infinite.
    """
    proto = interface.read(str(model))
    exact, rounded = resolve(EXACT), resolve(ROUNDED)
    measured: Measured = []
    for draw in range(max(draws, 1)):
        near = nearby_model(proto, draw)
        fine, coarse = exact.open(near), rounded.open(near)
        for number, feeds in enumerate(inputs):
            expected, actual = _tensors(fine.run(feeds)), _tensors(coarse.run(feeds))
            if draw == 0:
                measured.append((expected, dict.fromkeys(expected, 0.0)))
            noise = measured[number][1]
            for name, value in expected.items():
                noise[name] = max(noise[name], _error(name, value, actual[name]))
    return measured


def nearby_model(model: Any, draw: int) -> Any:
    """Return a ModelProto with weights moved by up to ``NEARBY`` of their size; draw 0 moves none.

    Weights are the floating-point initializers and constants of more than one element, also of
    nested graphs and functions, but not those whose values decide the shape of a result.
    """
    if draw == 0:
        return model
    near = deepcopy(model)
    rng = np.random.default_rng(draw)
    nodes = list(walk.nodes(near.graph, *near.functions))
    graphs = [near.graph, *(body for node in nodes for body in walk.bodies(node))]
    weights = [(tensor.name, tensor) for graph in graphs for tensor in graph.initializer]
    holders = [node for node in nodes if node.op_type == "Constant"]
    weights += [(node.output[0], tensor) for node in holders for tensor in tensors(node)]
    sizes = {name for node in nodes if node.op_type in SIZED_BY_VALUES for name in node.input[1:]}
    for name, tensor in weights:
        value = numpy_helper.to_array(tensor)
        if _floating(value) and value.size > 1 and name not in sizes:
            moved = value * (1 + rng.uniform(-NEARBY, NEARBY, value.shape))
            tensor.CopyFrom(numpy_helper.from_array(moved.astype(value.dtype), tensor.name))
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
