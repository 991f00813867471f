"""Planted defects: each changes a conforming model in one way that a harness should notice."""

from __future__ import annotations

FAMILIES: tuple[str, ...] = (
    "harness.mutation.defects.recurrent",
    "harness.mutation.defects.cells",
    "harness.mutation.defects.states",
    "harness.mutation.defects.masks",
    "harness.mutation.defects.masking",
    "harness.mutation.defects.shapes",
    "harness.mutation.defects.order",
    "harness.mutation.defects.activations",
    "harness.mutation.defects.weights",
    "harness.mutation.defects.interface",
    "harness.mutation.defects.conditional",
    "harness.mutation.defects.magnitudes",
    "harness.mutation.defects.production",
    "harness.mutation.defects.noise",
)
"""Modules whose public functions are the defects, in their order."""
