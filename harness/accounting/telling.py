"""What of a home or a constant decides, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np

from harness.accounting.constants import Constant, Piece
from harness.accounting.search import Home
from harness.core.schema import Array

SHAPING = {"Reshape", "Slice", "Expand", "Unsqueeze", "Squeeze", "Tile", "Pad", "Split", "Concat"}
SHAPING |= {"ReduceMean", "ReduceSum", "ReduceMax", "Gather", "ConstantOfShape", "Resize", "Range"}


def in_order(orders: Mapping[str, set[str]], piece: Piece | None) -> bool:
    """Return whether a piece has the order of gates that the matrices of its node have."""
    if piece is None or not piece.order:
        return True
    return piece.order in orders.get(piece.node, {piece.order})


def at(nodes: Set[str], piece: Piece | None) -> bool:
    return piece is not None and piece.node in nodes


def labels(homes: list[Home]) -> str:
    labels = list(dict.fromkeys(home.label for home in homes))
    more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
    return labels[0] + more


def blocks_text(home: Home) -> str:
    return f", {len(home.blocks)} blocks" if len(home.blocks) > 1 else ", a part of it"


def vague(constant: Constant) -> bool:
    """Return whether a constant without a source may have been computed of a parameter.

    Numbers of few digits, such as an epsilon, were not, nor were shapes and axes.
    """
    array = constant.array
    if array.dtype.kind in "iu" and constant.label.partition(".")[0] in SHAPING:
        return False
    if array.size > 1 or array.dtype.kind != "f":
        return array.size > 1
    with np.errstate(over="ignore"):
        return bool(np.asarray(f"{float(array):.4g}").astype(array.dtype) != array)


def elsewhere(value: Array) -> Array:
    """Return other values of about the same size."""
    moved = value.astype(np.float64) * 1.25 + 0.0625 * (1 + np.arange(value.size) % 7).reshape(
        value.shape
    )
    return moved.astype(value.dtype)
