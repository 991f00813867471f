"""``poison``: extreme values under the mask change nothing.

The padded input's value 0 is the mask itself, so nothing extreme can be put under it through the
inputs. What lies under the mask is what the graph looks up for id 0: in a copy of the graph every
table that it looks ids up in holds extreme values in row 0, for those lookups alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from harness.core.schema import Array, GoldenCase
from harness.graphs.attributes import attribute
from harness.graphs.edit import Edit
from harness.graphs.walk import input_at
from harness.relations.context import Check, Context, Pair, valid_steps

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
    edit = Edit(onnx.load(str(context.model)))
    if context.spec.padded is None or not poison(edit, context.spec.padded):
        return None
    poisoned = context.derived(edit.done())

    def check(golden: GoldenCase) -> Iterator[Pair]:
        if valid_steps(context.spec, golden.inputs).all():
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


def poison(edit: Edit, padded: str) -> int:
    """Give every lookup of the padded input's ids a table with an extreme row 0; how many."""
    count = 0
    for node in edit.nodes:
        if node.op_type != "Gather" or attribute(node, "axis", 0):
            continue
        table = edit.value(node.input[0])
        if table is not None and table.ndim > 1 and _holds(edit, node.input[1], padded):
            edit.feed(node, 0, edit.constant(np.concatenate([extreme(table[:1]), table[1:]])))
            count += 1
    return count


def _holds(edit: Edit, name: str, source: str) -> bool:
    """Whether a value's elements are those of ``source``, moved about."""
    todo, seen = [name], set()
    while todo:
        name = todo.pop()
        if name == source:
            return True
        node = edit.producer(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        todo += [input_at(node, slot) for slot in CARRIERS.get(node.op_type, ())]
    return False
