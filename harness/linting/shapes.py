"""The sizes that a node can run at, by the shapes of its operands."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod

from onnx import NodeProto

from harness.graphs.attributes import attribute
from harness.graphs.inference import Dim, Scope
from harness.graphs.recurrent import INITIAL_C, INITIAL_H

ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where", "And", "Or", "Xor"}
ELEMENTWISE |= {"Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "PRelu", "Mod"}
CELL = {"MatMul", "Gemm"}
ACTIVATIONS = {"Sigmoid", "HardSigmoid", "Tanh", "Relu", "Softsign"}
UNROLLED = 4


def fits_any_size(scope: Scope, node: NodeProto, target: list[int | None]) -> bool | None:
    """Return whether a Reshape's fixed sizes divide the data's fixed sizes; None where that is
    open.

    With one element to be inferred, a target that fits at every size of the dynamic axes, 1
    included, divides the product of the fixed ones. Axes copied by 0 stand on both sides.
    """
    dims = scope.dims(node.input[0])
    if dims is None or any(dim is None for dim in dims) or any(v is None for v in target):
        return None
    dims_left: list[Dim] = list(dims)
    fixed = 1
    for place, value in enumerate(target):
        copied = value == 0 and not attribute(node, "allowzero", 0) and place < len(dims)
        if copied:
            dims_left[place] = 1
        elif value is not None and value > 0:
            fixed *= value
    data_size = prod(dim for dim in dims_left if isinstance(dim, int))
    if -1 not in target:
        return not any(isinstance(dim, str) for dim in dims_left) and data_size == fixed
    return data_size % fixed == 0


def broadcast(scope: Scope, node: NodeProto) -> Iterator[tuple[str, int, str]]:
    """Yield (constant, size, axis) where a constant's axis of size > 1 meets a dynamic one."""
    if node.op_type == "MatMul":
        yield from _contracted(scope, node)
    if node.op_type not in ELEMENTWISE:
        return
    for name in node.input:
        if name not in scope.constants:
            continue
        sizes = scope.constants[name].dims
        for operand in node.input:
            dims = scope.dims(operand) if operand not in scope.constants else None
            for size, dim in zip(reversed(sizes), reversed(dims or ()), strict=False):
                if size > 1 and isinstance(dim, str):
                    yield name, int(size), dim


def _contracted(scope: Scope, node: NodeProto) -> Iterator[tuple[str, int, str]]:
    """Yield constant factors whose contracted axis meets a dynamic one."""
    first, second = node.input
    for constant, operand, own_axis, axis in ((first, second, -1, -2), (second, first, -2, -1)):
        factor, dims = scope.constants.get(constant), scope.dims(operand)
        if factor is None or operand in scope.constants or not dims or len(factor.dims) < 2:
            continue
        dim = dims[max(axis, -len(dims))]
        if factor.dims[own_axis] > 1 and isinstance(dim, str):
            yield constant, int(factor.dims[own_axis]), dim


def initial_states(scope: Scope, node: NodeProto) -> Iterator[tuple[str, int, Dim]]:
    """Yield (constant, rows, batch of the data) of each initial state of more than one row."""
    batch_first = attribute(node, "layout", 0) == 1
    data = scope.dims(node.input[0])
    for name in node.input[INITIAL_H : INITIAL_C + 1]:
        state = scope.constants.get(name)
        if state is not None and len(state.dims) == 3:
            rows = int(state.dims[0 if batch_first else 1])
            if rows > 1:
                yield name, rows, data[0 if batch_first else 1] if data else None


def repeated_cells(scope: Scope) -> Iterator[tuple[str, int]]:
    """Yield (weight, times) of each weight that multiplies its own results again and again."""
    uses: dict[str, list[NodeProto]] = {}
    for node in scope.graph.node:
        if node.op_type in CELL:
            for name in node.input[:2]:
                if (weight := _weight(scope, name)) is not None:
                    uses.setdefault(weight, []).append(node)
    for weight, nodes in uses.items():
        if len(nodes) >= UNROLLED and all(
            _leads(scope, before, after) for before, after in pairwise(nodes)
        ):
            yield weight, len(nodes)


def _weight(scope: Scope, name: str) -> str | None:
    """Return the constant of rank 2 or more that a name stands for, transposed or not."""
    node = scope.producers.get(name)
    if name not in scope.constants and node is not None and node.op_type in ("Transpose", "Cast"):
        name = node.input[0]
    return name if name in scope.constants and len(scope.constants[name].dims) > 1 else None


def _leads(scope: Scope, before: NodeProto, after: NodeProto, limit: int = 200) -> bool:
    """Return whether ``after`` reads ``before`` through an activation, few nodes between them."""
    pending = [(name, False) for name in after.input]
    visited: set[tuple[str, bool]] = set()
    while pending and len(visited) < limit:
        name, active = pending.pop(0)
        node = scope.producers.get(name)
        if node is None or (name, active) in visited:
            continue
        visited.add((name, active))
        if node is before or node.output[0] == before.output[0]:
            if active:
                return True
            continue
        active = active or node.op_type in ACTIVATIONS
        pending += [(each, active) for each in node.input]
    return False
