"""One model exported twice, at different sizes: what differs was baked in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from onnx import NodeProto

from harness.core.errors import UsageError
from harness.graphs.attributes import attributes
from harness.graphs.inference import Facts, Scope, dims_of, is_batch
from harness.linting.finding import Finding

REMEDY = "take it from Shape of the tensor when it runs"


def compare(here: Facts, there: Facts) -> Iterator[Finding]:
    """Every constant, attribute and declared size of ``here`` that is another in ``there``.

    Weights are taken to be the same: of floats, only shapes and single values are compared.
    UsageError where the two are no exports of one model, or were exported at the same sizes.
    """
    _comparable(here, there)
    if here.example and here.example == there.example:
        sizes = ", ".join(f"{axis}={size}" for axis, size in here.example.items())
        raise UsageError(f"both were exported at {sizes}: export {there.path} at other sizes")
    ours, theirs = list(here.nodes()), list(there.nodes())
    if [node.op_type for _, node in ours] != [node.op_type for _, node in theirs]:
        found = f"has {len(ours)} nodes, the other export {len(theirs)}: it was unrolled or cut"
        remedy = "export with dynamic shapes and native recurrent nodes"
        yield Finding("baked-length", "error", "graph", found, remedy)
        ours = theirs = []
    yield from _declared(here, there)
    told: set[str] = set()
    for (scope, node), (other_scope, other) in zip(ours, theirs, strict=True):
        for place, first, second in _pairs(scope, node, other_scope, other):
            if place not in told and first != second:
                told.add(place)
                yield _finding(here, there, place, first, second)


def _comparable(here: Facts, there: Facts) -> None:
    for kind in ("input", "output"):
        ours = sorted(value.name for value in getattr(here.graph, kind))
        theirs = sorted(value.name for value in getattr(there.graph, kind))
        if ours != theirs:
            raise UsageError(
                f"{there.path}: expected another export of the same model, with {kind}s"
                f" {', '.join(ours)}; there are {', '.join(theirs)}"
            )


def _declared(here: Facts, there: Facts) -> Iterator[Finding]:
    for kind in ("input", "output"):
        theirs = {value.name: value for value in getattr(there.graph, kind)}
        for value in getattr(here.graph, kind):
            first, second = dims_of(value.type) or (), dims_of(theirs[value.name].type) or ()
            for number, (one, two) in enumerate(zip_longest(first, second)):
                if isinstance(one, int) and isinstance(two, int) and one != two:
                    place = f"{kind} {value.name!r} axis {number}"
                    yield _finding(here, there, place, [one], [two])


def _pairs(
    scope: Scope, node: NodeProto, other_scope: Scope, other: NodeProto
) -> Iterator[tuple[str, Sequence[Any], Sequence[Any]]]:
    """(place, what is here, what is there) of every attribute and constant operand."""
    label = scope.label(node)
    if node.op_type != "Constant":
        theirs = attributes(other)
        for key, one in attributes(node).items():
            two: Any = theirs.get(key)
            if isinstance(one, int | float | list) and type(one) is type(two):
                yield f"{label} attribute {key!r}", np.ravel(one).tolist(), np.ravel(two).tolist()
    for name, other_name in zip(node.input, other.input, strict=False):
        if name not in scope.constants or other_name not in other_scope.constants:
            continue
        place = f"{label} input {name!r}"
        yield place, [*scope.constants[name].dims], [*other_scope.constants[other_name].dims]
        one, two = scope.array(name), other_scope.array(other_name)
        if one is not None and two is not None and one.shape == two.shape:
            whole = np.issubdtype(one.dtype, np.integer)
            if whole or one.size == 1:
                yield place, one.reshape(-1).tolist(), two.reshape(-1).tolist()


def _finding(
    here: Facts, there: Facts, place: str, first: Sequence[Any], second: Sequence[Any]
) -> Finding:
    both = [(one, two) for one, two in zip_longest(first, second) if one != two]
    axis = next((found for pair in both if (found := _axis(here, there, *pair))), None)
    rule = "baked-batch" if axis is not None and is_batch(axis) else "baked-length"
    one, two = both[0]
    of = f", the sizes of {axis} in the two examples" if axis else ""
    found = f"is {one} here and {two} in the other export{of}"
    return Finding(rule, "error", place, found, REMEDY)


def _axis(here: Facts, there: Facts, one: Any, two: Any) -> str | None:
    """The axis of which the two values are the sizes."""
    sizes: Mapping[str, int] = there.example
    pairs = {axis: (size, sizes.get(axis)) for axis, size in here.example.items()}
    return next((axis for axis, pair in pairs.items() if pair == (one, two)), None)
