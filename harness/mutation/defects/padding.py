"""The mask of a padded input in a graph, and the nodes that read by it."""

from __future__ import annotations

from typing import Any

from harness.graphs.edit import Edit
from harness.mutation.defects.defect import Specimen

STEPS = 1
"""The time axis of a mask."""


def mask_of(edit: Edit, subject: Specimen) -> str:
    """Return the bool [batch, steps] that is true at a valid step; empty where there is none.

    It is the inverse of whether the padded input is its padding id.
    """
    equal = padding_test(edit, subject)
    inverse = edit.consumers(equal.output[0]) if equal is not None else []
    return next((str(node.output[0]) for node in inverse if node.op_type == "Not"), "")


def padding_test(edit: Edit, subject: Specimen) -> Any | None:
    """Return the node that compares the padded input with its padding id."""
    readers = edit.consumers(subject.spec.padded) if subject.spec.padded else []
    return next((node for node in readers if node.op_type == "Equal"), None)


def mask_name(subject: Specimen) -> str:
    return f"mask of {subject.spec.padded}"


def all_valid(edit: Edit, mask: str) -> str:
    return edit.node("Or", [mask, edit.node("Not", [mask])])


def computed(edit: Edit) -> set[str]:
    """Return all tensors that are computed from a recurrent node's outputs."""
    return edit.downstream(name for node in edit.recurrent() for name in node.output)


def steps_read(edit: Edit, subject: Specimen) -> list[Any]:
    """Return the nodes that pick, by the mask, steps for an output with the mask's time axis."""
    outputs = [t.name for t in subject.spec.outputs if subject.spec.ragged in t.axes]
    read = _read(edit, subject)
    return [n for n in read if any(edit.depends(o, n.output[0]) for o in outputs)]


def states_read(edit: Edit, subject: Specimen) -> list[Any]:
    steps = steps_read(edit, subject)
    return [node for node in _read(edit, subject) if node not in steps]


def _read(edit: Edit, subject: Specimen) -> list[Any]:
    """Return the nodes that pick from a recurrent node's values by indices made from the mask."""
    mask, recurrent_values = mask_of(edit, subject), computed(edit)
    picking = [n for n in edit.nodes if n.op_type in ("Gather", "GatherND") and mask]
    return [n for n in picking if n.input[0] in recurrent_values and edit.depends(n.input[1], mask)]
