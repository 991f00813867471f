"""``poison``: extreme values under the mask change nothing.

The padded input's padding is the mask itself, so nothing extreme can be put under it through the
inputs. What lies under the mask is what the graph looks up for that id: in a copy of the graph
every table that it looks ids up in holds extreme values in its row, for those lookups alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.core.schema import Array, GoldenCase, ModelSpec
from harness.relations.context import Check, Context, Pair

CARRIERS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose"), (0,)),
    **dict.fromkeys(("Slice", "Pad", "Expand", "ReverseSequence", "GatherND"), (0,)),
    **dict.fromkeys(("Gather", "GatherElements", "Split", "Flatten"), (0,)),
    "ScatterElements": (0, 2),
    "ScatterND": (0, 2),
    "Where": (1, 2),
}
"""Operators whose output holds values of these inputs, moved but not changed."""


def relation(context: Context) -> Check | None:
    """Applies where the padded input's ids are looked up in a table that the graph holds."""
    import onnx

    model = onnx.load(str(context.model))
    if not poison(model.graph, context.spec):
        return None
    poisoned = context.derived(model)

    def check(golden: GoldenCase) -> Iterator[Pair]:
        valid = context.spec.valid_steps(golden.inputs)
        if valid is None or valid.all():
            return
        clean = context.run(golden.inputs, golden.case)
        yield Pair("", clean, context.run(golden.inputs, golden.case, poisoned))

    return check


def extreme(row: Array) -> Array:
    """The row with values of alternating sign, as large as leaves their products finite.

    For a float it is the fourth root of the largest one, so that it can be squared twice; for an
    integer the largest and the smallest there are.
    """
    other = np.arange(row.size).reshape(row.shape) % 2 == 1
    if np.issubdtype(row.dtype, np.integer):
        low, high = np.iinfo(row.dtype).min, np.iinfo(row.dtype).max
    else:
        high = float(np.finfo(row.dtype).max) ** 0.25
        low = -high
    return np.where(other, low, high).astype(row.dtype)


def poison(graph: Any, spec: ModelSpec) -> int:
    """Give every lookup of the padded input's ids a table whose row of the padding is extreme.

    Return how many there are. A table is left as it is where it has no row that is the padding's
    alone.
    """
    from onnx import numpy_helper

    made = {output: node for node in graph.node for output in node.output if output}
    tables = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tables[node.output[0]] = node.attribute[0].t
    count = 0
    for node in graph.node:
        if node.op_type != "Gather" or any(a.name == "axis" and a.i for a in node.attribute):
            continue
        table = tables.get(node.input[0])
        if table is None or len(table.dims) < 2 or not _holds(node.input[1], spec.padded, made):
            continue
        row = _padding_row(spec, table.dims[0])
        if row is None:
            continue
        values = numpy_helper.to_array(table).copy()
        values[row] = extreme(values[row])
        node.input[0] = f"{table.name or node.name}/poisoned_{count}"
        graph.initializer.append(numpy_helper.from_array(values, node.input[0]))
        count += 1
    return count


def _padding_row(spec: ModelSpec, rows: int) -> int | None:
    """The row of a table that the padding looks up; None where there is none, or an id has it."""
    (tensor,) = (t for t in spec.inputs if t.name == spec.padded)
    row = int(spec.padding)
    row += rows if row < 0 else 0
    shared = any(tensor.low <= index < tensor.high for index in (row, row - rows))
    return row if 0 <= row < rows and not shared else None


def _holds(name: str, source: str | None, made: dict[str, Any]) -> bool:
    """Whether a value's elements are those of ``source``, moved about."""
    todo, seen = [name], set()
    while todo:
        name = todo.pop()
        if name == source:
            return True
        node = made.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        todo += [node.input[i] for i in CARRIERS.get(node.op_type, ()) if i < len(node.input)]
    return False
