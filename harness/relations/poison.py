"""``poison``: extreme values under the mask change nothing.

The padded input's padding is the mask itself, so nothing extreme can be put under it through the
inputs. What lies under the mask is what the graph looks up for that id: in a copy of the graph
every table that it looks ids up in holds extreme values in its row, for those lookups alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from harness.core.schema import Array, Arrays, GoldenCase, ModelSpec
from harness.graphs.attributes import attribute
from harness.graphs.edit import Edit
from harness.graphs.walk import input_at
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


def relation(context: Context) -> Check | str:
    """Apply where the padded input's ids are looked up in a table that the graph holds.

    Of a model that was tried itself, cases with padding that leaves it as it was are compared, at
    the valid steps: what it computes at a padded one may rest on the padding.
    """
    spec = context.spec
    told = spec.unchanged
    if told == ():
        return "the model itself gives other values at valid steps where there is padding"
    edit = Edit(onnx.load(str(context.model)))
    if not poison(edit, spec):
        return "no table has a row of the padding alone that the padded input looks up"
    poisoned = context.derived(edit.done())

    def check(golden: GoldenCase) -> Iterator[Pair]:
        valid = spec.valid_steps(golden.inputs)
        kind = golden.case.raggedness
        if valid is None or valid.all() or (told is not None and kind not in told):
            return
        clean = context.run(golden.inputs, golden.case)
        extremes = context.run(golden.inputs, golden.case, poisoned)
        if told is not None:
            clean, extremes = (_at_valid_steps(spec, golden, o) for o in (clean, extremes))
        yield Pair("", clean, extremes)

    return check


def _at_valid_steps(spec: ModelSpec, golden: GoldenCase, outputs: Arrays) -> Arrays:
    """Return the outputs with zero at padded steps."""
    kept = dict(outputs)
    for tensor in spec.outputs:
        if (padded := spec.padded_places(tensor, golden.inputs)) is not None:
            value = outputs[tensor.name]
            kept[tensor.name] = np.where(padded, value.dtype.type(0), value)
    return kept


def extreme(row: Array) -> Array:
    """Return the row with values of alternating sign, so large that their products stay finite.

    For a float it is the fourth root of the largest one, so that it can be squared twice; for an
    integer the largest and the smallest there are.
    """
    odd = np.arange(row.size).reshape(row.shape) % 2 == 1
    if np.issubdtype(row.dtype, np.integer):
        low, high = np.iinfo(row.dtype).min, np.iinfo(row.dtype).max
    else:
        high = float(np.finfo(row.dtype).max) ** 0.25
        low = -high
    return np.where(odd, low, high).astype(row.dtype)


def poison(edit: Edit, spec: ModelSpec) -> int:
    """Give every lookup of the padded input's ids a table whose row of the padding is extreme.

    Return how many there are. A table is left as it is where it has no row that is the padding's
    alone.
    """
    count = 0
    for node in edit.nodes:
        if node.op_type != "Gather" or attribute(node, "axis", 0):
            continue
        table = edit.value(node.input[0])
        if table is None or table.ndim < 2 or not _holds(edit, node.input[1], spec.padded):
            continue
        row = _padding_row(spec, len(table))
        if row is None:
            continue
        values = table.copy()
        values[row] = extreme(values[row])
        edit.feed(node, 0, edit.constant(values))
        count += 1
    return count


def _padding_row(spec: ModelSpec, rows: int) -> int | None:
    """Return the row that the padding looks up; None where there is none, or an id shares it."""
    (tensor,) = (t for t in spec.inputs if t.name == spec.padded)
    row = int(spec.padding)
    row += rows if row < 0 else 0
    shared = any(tensor.low <= index < tensor.high for index in (row, row - rows))
    return row if 0 <= row < rows and not shared else None


def _holds(edit: Edit, name: str, source: str | None) -> bool:
    """Return whether a value's elements are those of ``source``, moved about."""
    pending, visited = [name], set()
    while pending:
        name = pending.pop()
        if name == source:
            return True
        node = edit.producer(name)
        if node is None or name in visited:
            continue
        visited.add(name)
        pending += [input_at(node, slot) for slot in CARRIERS.get(node.op_type, ())]
    return False
