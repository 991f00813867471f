"""One model exported twice, at different sizes: what differs was baked in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from onnx import NodeProto

from harness.core.errors import UsageError
from harness.graphs.attributes import attributes
from harness.graphs.inference import Facts, Scope, dims_of, is_batch
from harness.linting.finding import Finding

REMEDY = "take it from Shape of the tensor when it runs"


def compare(facts: Facts, other: Facts) -> Iterator[Finding]:
    """Yield every constant, attribute and declared size that differs from the ``other`` export's.

    Weights are taken to be the same: of floats, only shapes and single values are compared.
    UsageError where the two are no exports of one model, or were exported at the same sizes.
    """
    _check_comparable(facts, other)
    if facts.example and facts.example == other.example:
        sizes = ", ".join(f"{axis}={size}" for axis, size in facts.example.items())
        raise UsageError(f"both were exported at {sizes}: export {other.path} at other sizes")
    ours, theirs = list(facts.nodes()), list(other.nodes())
    if [node.op_type for _, node in ours] != [node.op_type for _, node in theirs]:
        problem = f"has {len(ours)} nodes, the other export {len(theirs)}: it was unrolled or cut"
        remedy = "export with dynamic shapes and native recurrent nodes"
        yield Finding("baked-length", "error", "graph", problem, remedy)
        ours = theirs = []
    yield from _declared(facts, other)
    reported: set[str] = set()
    for our_node, their_node in zip(ours, theirs, strict=True):
        for place, our_values, their_values in _values(our_node, their_node):
            if place not in reported and our_values != their_values:
                reported.add(place)
                yield _finding(facts, other, place, our_values, their_values)


def _check_comparable(facts: Facts, other: Facts) -> None:
    for kind in ("input", "output"):
        ours = sorted(value.name for value in getattr(facts.graph, kind))
        theirs = sorted(value.name for value in getattr(other.graph, kind))
        if ours != theirs:
            raise UsageError(
                f"{other.path}: expected another export of the same model, with {kind}s"
                f" {', '.join(ours)}; there are {', '.join(theirs)}"
            )


def _declared(facts: Facts, other: Facts) -> Iterator[Finding]:
    for kind in ("input", "output"):
        theirs = {value.name: dims_of(value.type) or () for value in getattr(other.graph, kind)}
        for value in getattr(facts.graph, kind):
            pairs = zip_longest(dims_of(value.type) or (), theirs[value.name])
            for number, (size, other_size) in enumerate(pairs):
                if isinstance(size, int) and isinstance(other_size, int) and size != other_size:
                    place = f"{kind} {value.name!r} axis {number}"
                    yield _finding(facts, other, place, [size], [other_size])


def _values(
    ours: tuple[Scope, NodeProto], theirs: tuple[Scope, NodeProto]
) -> Iterator[tuple[str, Sequence[Any], Sequence[Any]]]:
    """Yield (place, our values, their values) of every attribute and constant operand."""
    (scope, node), (other_scope, other_node) = ours, theirs
    label = scope.label(node)
    if node.op_type != "Constant":
        other_attributes = attributes(other_node)
        for key, value in attributes(node).items():
            other_value: Any = other_attributes.get(key)
            if isinstance(value, int | float | list) and type(value) is type(other_value):
                place = f"{label} attribute {key!r}"
                yield place, np.ravel(value).tolist(), np.ravel(other_value).tolist()
    for name, other_name in zip(node.input, other_node.input, strict=False):
        if name not in scope.constants or other_name not in other_scope.constants:
            continue
        place = f"{label} input {name!r}"
        yield place, [*scope.constants[name].dims], [*other_scope.constants[other_name].dims]
        array, other_array = scope.array(name), other_scope.array(other_name)
        if array is None or other_array is None or array.shape != other_array.shape:
            continue
        if np.issubdtype(array.dtype, np.integer) or array.size == 1:
            yield place, array.reshape(-1).tolist(), other_array.reshape(-1).tolist()


def _finding(
    facts: Facts, other: Facts, place: str, ours: Sequence[Any], theirs: Sequence[Any]
) -> Finding:
    differing = [(a, b) for a, b in zip_longest(ours, theirs) if a != b]
    sizes = {axis: (size, other.example.get(axis)) for axis, size in facts.example.items()}
    axis = next((axis for pair in differing for axis in sizes if sizes[axis] == pair), None)
    rule = "baked-batch" if axis is not None and is_batch(axis) else "baked-length"
    of = f", the sizes of {axis} in the two examples" if axis else ""
    problem = f"is {differing[0][0]} here and {differing[0][1]} in the other export{of}"
    return Finding(rule, "error", place, problem, REMEDY)
