"""Changes of a recurrent node in a working copy: made by a defect, undone by a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.graphs.attributes import attribute, set_attribute
from harness.graphs.edit import Edit
from harness.graphs.recurrent import STACKED, directions, reordered
from harness.graphs.walk import input_at


def turn(edit: Edit, node: Any) -> None:
    """Let a node run from the other end, or its two directions have each other's weights."""
    if directions(node) == 1:
        reverse = attribute(node, "direction", "forward") == "reverse"
        set_attribute(node, "direction", "forward" if reverse else "reverse")
        return
    for slot in STACKED:
        if (weights := edit.value(input_at(node, slot))) is not None:
            edit.feed(node, slot, edit.constant(weights[::-1]))


def reorder(edit: Edit, node: Any, order: Sequence[int]) -> None:
    """Let the gates come in another order in every weight that is a constant."""
    for slot, parts in STACKED.items():
        if (weights := edit.value(input_at(node, slot))) is not None:
            edit.feed(node, slot, edit.constant(reordered(weights, order, parts)))


def exchange(node: Any, one: int, other: int) -> bool:
    """Let two inputs change places; False, and nothing happens, where one of them is left out."""
    names = input_at(node, one), input_at(node, other)
    if all(names):
        node.input[other], node.input[one] = names
    return all(names)


def toggle(node: Any, name: str) -> None:
    """Give an attribute that is 0 or 1 the other value; one that is left out is 0."""
    set_attribute(node, name, 1 - attribute(node, name, 0))
