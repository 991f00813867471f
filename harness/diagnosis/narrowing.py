"""Whether a node computes as if what it takes were rounded to a narrow type."""

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
"""What is rounded explains an error of which less than this part is left."""


def guesses(blame: Blame, net: Net) -> Iterator[Guess]:
    """The type, and what is rounded to it, that leave least of a node's error, if they do."""
    reads = [name for name in net.reads(blame.node) if name in net.constants]
    floats = [name for name in reads if net.constants[name].dtype == np.float32]
    found = []
    for kind, rounded in NARROW.items():
        model = deepcopy(net.model)
        for tensor in model.graph.initializer:
            if tensor.name in floats:
                value = rounded(net.constants[tensor.name])
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        fed = {name: _narrow(value, rounded) for name, value in blame.fed.items()}
        plain, weighty = Exact(net), Exact(Net(model))
        for what, exact, given in (
            ("its weights were", weighty, blame.fed),
            ("what it reads were", plain, fed),
            ("its weights and what it reads were", weighty, fed),
        ):
            left = _left(blame, exact, given)
            found.append((left, f"{blame.label} computes as if {what} rounded to {kind}"))
    left, words = min(found)
    if left * EXPLAINED < blame.error:
        told = f"with that in float64 its error falls from {blame.error:.2g} to {left:.2g}"
        yield Guess("reduced precision", words, told, True)


def _left(blame: Blame, exact: Exact, fed: Arrays) -> float:
    """The node's error against what it gives for rounded inputs or weights."""
    try:
        due = exact.node(blame.node, fed)
    except Exception:
        return float("inf")
    return max(apart(value, due.get(name)) for name, value in blame.given.items())


def _narrow(value: Array, rounded: Callable[[Array], Array]) -> Array:
    """A tensor of floats through a narrow type; any other as it is."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array
    return np.asarray(rounded(array.astype(np.float32)))
