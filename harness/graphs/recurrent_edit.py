"""Changes of a recurrent node in a working copy, which defects make and diagnoses undo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.graphs.attributes import attribute, set_attribute
from harness.graphs.edit import Edit
from harness.graphs.recurrent import STACKED, directions, reordered
from harness.graphs.walk import input_at


def turn(edit: Edit, node: Any) -> None:
    """Reverse a node's direction, or exchange the weights of its two directions."""
    if directions(node) == 1:
        reverse = attribute(node, "direction", "forward") == "reverse"
        set_attribute(node, "direction", "forward" if reverse else "reverse")
        return
    for slot in STACKED:
        if (weights := edit.value(input_at(node, slot))) is not None:
            edit.feed(node, slot, edit.constant(weights[::-1]))


def reorder(edit: Edit, node: Any, order: Sequence[int]) -> None:
    """Put the gates of every constant weight in another order."""
    for slot, parts in STACKED.items():
        if (weights := edit.value(input_at(node, slot))) is not None:
            edit.feed(node, slot, edit.constant(reordered(weights, order, parts)))


def exchange(node: Any, first: int, second: int) -> bool:
    """Exchange two inputs; return False, with no change, where one of them is left out."""
    names = input_at(node, first), input_at(node, second)
    if all(names):
        node.input[second], node.input[first] = names
    return all(names)


def toggle(node: Any, name: str) -> None:
    """Change an attribute between 0, which one that is left out has, and 1."""
    set_attribute(node, name, 1 - attribute(node, name, 0))
