"""Planted defects: each changes a conforming model in one way that a harness should notice."""

from __future__ import annotations

FAMILIES: tuple[str, ...] = (
    "harness.defects.recurrent",
    "harness.defects.cells",
    "harness.defects.states",
    "harness.defects.masks",
    "harness.defects.masking",
    "harness.defects.shapes",
    "harness.defects.order",
    "harness.defects.activations",
    "harness.defects.weights",
    "harness.defects.interface",
    "harness.defects.conditional",
    "harness.defects.noise",
)
"""Modules with a tuple ``DEFECTS`` each."""
