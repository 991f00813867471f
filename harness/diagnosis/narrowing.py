"""Nodes that compute as if their inputs or weights were rounded to a narrow type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
from onnx import numpy_helper

from harness.core.schema import Array, Arrays
from harness.diagnosis.blame import Blame
from harness.diagnosis.diagnosis import Guess
from harness.diagnosis.values import Exact, apart
from harness.graphs.narrow import bfloat16, float16, tf32
from harness.graphs.view import Net

NARROW: dict[str, Callable[[Array], Array]] = {
    "bfloat16": bfloat16,
    "float16 or TF32": float16,
    "TF32": tf32,
}
EXPLAINED = 8
"""Rounding explains an error of which less than one part in so many is left."""


def guesses(blame: Blame, net: Net) -> Iterator[Guess]:
    """Yield the type, and what is rounded to it, that explain most of a node's error."""
    reads = [name for name in net.reads(blame.node) if name in net.constants]
    floats = [name for name in reads if net.constants[name].dtype == np.float32]
    trials = []
    for kind, rounded in NARROW.items():
        model = deepcopy(net.model)
        for tensor in model.graph.initializer:
            if tensor.name in floats:
                value = rounded(net.constants[tensor.name])
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        narrowed = {name: _narrow(value, rounded) for name, value in blame.inputs.items()}
        plain, weighty = Exact(net), Exact(Net(model))
        for what, exact, inputs in (
            ("its weights were", weighty, blame.inputs),
            ("what it reads were", plain, narrowed),
            ("its weights and what it reads were", weighty, narrowed),
        ):
            left = _left(blame, exact, inputs)
            trials.append((left, f"{blame.label} computes as if {what} rounded to {kind}"))
    left, words = min(trials)
    if left * EXPLAINED < blame.error:
        rests = f"with that in float64 its error falls from {blame.error:.2g} to {left:.2g}"
        yield Guess("reduced precision", words, rests, True)


def _left(blame: Blame, exact: Exact, inputs: Arrays) -> float:
    """Return the node's error against its outputs for rounded inputs or weights."""
    try:
        expected = exact.node(blame.node, inputs)
    except Exception:
        return float("inf")
    return max(apart(value, expected.get(name)) for name, value in blame.actual.items())


def _narrow(value: Array, rounded: Callable[[Array], Array]) -> Array:
    """Return a tensor of floats rounded to a narrow type; any other as it is."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array
    return np.asarray(rounded(array.astype(np.float32)))
