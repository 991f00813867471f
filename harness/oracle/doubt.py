"""How far float32 attributes and derived constants of a graph may move its float64 outputs.

An epsilon of 1e-5 is a float32 attribute in ONNX, a folded batch norm a float32 constant, while the
float64 run of the framework has finer ones. So each is moved about as far as rounding could have.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

from harness.core.schema import Array, Arrays
from harness.graphs import interface, walk
from harness.graphs.attributes import tensors
from harness.graphs.rounded import exact
from harness.oracle.evaluator import Evaluator
from harness.oracle.widen import widen, widen_value

DRAWS = 4
HALF_ULP = 2.0**-24
"""The largest relative error of a value that is rounded to float32."""
FACTOR = 4.0
"""What is derived in float32 is rounded a few times, and ``DRAWS`` runs do not find the worst."""


class Doubt:
    """The doubt about a model's outputs; ``names`` are the constants that are derived."""

    def __init__(self, model: Path, names: Collection[str]) -> None:
        self._path, self._names = model, frozenset(names)

    def of(self, inputs: Arrays) -> dict[str, float]:
        """Return how far each floating-point output may be off; 0 where nothing was rounded.

        A graph that does not run with moved values, as where they decide a shape, tells nothing.
        """
        feeds = {name: widen_value(value) for name, value in inputs.items()}
        first, *others = self._evaluators
        doubt = dict.fromkeys(first.output_names, 0.0)
        with np.errstate(all="ignore"):
            expected = first.run(None, feeds)
            for evaluator in others:
                try:
                    moved = evaluator.run(None, feeds)
                except Exception:
                    continue
                for name, one, other in zip(doubt, expected, moved, strict=True):
                    doubt[name] = max(doubt[name], FACTOR * _apart(one, other))
        return doubt

    @cached_property
    def _evaluators(self) -> list[Any]:
        """The graph as it is, then with its rounded values moved."""
        wide = widen(interface.read(str(self._path)))
        evaluators: list[Any] = [Evaluator(wide)]
        for draw in range(DRAWS):
            rng = np.random.default_rng(draw)
            kind = type("MovedEvaluator", (_Moved,), {"rng": rng})
            evaluators.append(kind(_with_moved_constants(wide, self._names, rng)))
        return evaluators


class _Moved(Evaluator):
    """Evaluates a graph, and those nested in it, with its attributes moved."""

    rng: Any

    def attribute(self, value: Any) -> Any:
        value = super().attribute(value)
        if isinstance(value, list):
            return [self.attribute(item) for item in value]
        return _moved(np.asarray(value), self.rng)[()] if isinstance(value, np.float64) else value


def _with_moved_constants(wide: Any, names: Collection[str], rng: Any) -> Any:
    moved = type(wide)()
    moved.CopyFrom(wide)
    nodes = list(walk.nodes(moved.graph, *moved.functions))
    graphs = [moved.graph, *(body for node in nodes for body in walk.bodies(node))]
    held = [(tensor.name, tensor) for graph in graphs for tensor in graph.initializer]
    held += [(n.output[0], t) for n in nodes if n.op_type == "Constant" for t in tensors(n)]
    for name, tensor in held:
        value = numpy_helper.to_array(tensor)
        if name in names and value.dtype == np.float64:
            tensor.CopyFrom(numpy_helper.from_array(_moved(value, rng), tensor.name))
    return moved


def _moved(value: Array, rng: Any) -> Array:
    """Return float64 values moved by what rounding to float32 may: each, each slice, and all.

    A norm that was rounded moves all that is divided by it.
    """
    signs = rng.choice([-1.0, 1.0], value.shape)
    for axis, size in enumerate(value.shape):
        shape = [size if place == axis else 1 for place in range(value.ndim)]
        signs = signs + rng.choice([-1.0, 1.0], shape)
    return np.where(exact(value), value, value * (1 + HALF_ULP * signs))


def _apart(one: Any, other: Any) -> float:
    """Return the largest difference of two outputs where both are finite; 0 for other types."""
    if getattr(one, "dtype", None) != np.float64 or np.shape(one) != np.shape(other):
        return 0.0
    apart = np.abs(one - other)
    return float(apart[np.isfinite(apart)].max(initial=0.0))
