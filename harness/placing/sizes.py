"""Which nodes of a model are shape arithmetic: they work on sizes, and read no data.

ONNX Runtime keeps those on the CPU by choice, where the sizes are. The operator does not decide:
Max of two sizes is shape arithmetic, Max of two int8 inputs is a node without a CUDA kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.graphs.walk import MAIN, bodies

SOURCES = frozenset({"Shape", "Size"})
# fmt: off
SHAPE_ARITHMETIC = SOURCES | {
    "Constant", "ConstantOfShape", "Identity", "Cast", "Gather", "Slice", "Concat", "Squeeze",
    "Unsqueeze", "Reshape", "Range", "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Equal",
    "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Where", "ReduceProd",
    "ReduceMax", "ReduceMin",
}
# fmt: on
"""The operators of which a node may be shape arithmetic."""
_INSERTED = re.compile(r"Gather(_token_\d+)?")
"""Names of the Gather that ONNX Runtime puts behind a Shape, to permute the sizes, where it moves a
Transpose past the Shape; no other node that it inserts is shape arithmetic."""
_INLINED = ("_inlfunc_", "_if_then_branch_", "_if_else_branch_")
"""Beginnings of the names that ONNX Runtime gives to nodes from a function's body or from a branch
that is always taken; those of operators that the standard defines as functions have no name. The
file does not show what such a node reads: its operator decides."""

OnSizes = Mapping[tuple[str, str], bool]
"""Whether a node works on sizes, by operator and name."""


def works_on_sizes(op_type: str, name: str, sizes: OnSizes) -> bool:
    """Return whether a placed node is shape arithmetic, by the ``sizes`` of its file."""
    inserted = op_type == "Gather" and _INSERTED.fullmatch(name) is not None
    inlined = op_type in SHAPE_ARITHMETIC and (not name or name.startswith(_INLINED))
    return sizes.get((op_type, name), inserted or inlined)


def on_sizes(path: str) -> dict[tuple[str, str], bool]:
    """Return whether the nodes of a model file are shape arithmetic, those of nested graphs too.

    The operator of such a node is in ``SHAPE_ARITHMETIC``, and each of its inputs is a constant of
    at most one dimension or comes from such a node; Shape and Size may take anything. Nodes of the
    same operator and name, such as none, are so only where they all are. The inputs of a nested
    graph are taken for data, and so is a constant that an input of the model overrides.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    by_node: dict[tuple[str, str], bool] = {}
    for key, arithmetic in _judged(model.graph, set(), overridden=model.ir_version >= 4):
        by_node[key] = arithmetic and by_node.get(key, True)
    return by_node


def _judged(
    graph: Any, outer: set[str], overridden: bool = True
) -> Iterator[tuple[tuple[str, str], bool]]:
    """Yield each node's operator and name, and whether it is shape arithmetic.

    ``outer`` names the sizes of the graphs around this one. Up to version 3 of ONNX's format every
    constant is listed as an input, and none is ``overridden``.
    """
    inputs = {value.name for value in graph.input}
    constants = {tensor.name for tensor in graph.initializer if len(tensor.dims) < 2}
    sizes = (outer - inputs) | (constants - inputs if overridden else constants)
    for node in graph.node:
        arithmetic = (
            node.domain in MAIN
            and node.op_type in SHAPE_ARITHMETIC
            and (node.op_type in SOURCES or sizes.issuperset(filter(None, node.input)))
            and all(len(a.t.dims or a.sparse_tensor.dims) < 2 for a in node.attribute)
        )
        yield (node.op_type, node.name), arithmetic
        (sizes.update if arithmetic else sizes.difference_update)(node.output)
        for body in bodies(node):
            yield from _judged(body, sizes)
