"""Where a parameter lies among constants, to the bit, as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from harness.accounting.constants import Piece, bits, kind
from harness.accounting.form import Block
from harness.core.schema import Array

MOST_AXES = 4
"""The axes of a parameter whose every order is tried; one with more has them in its own order."""


@dataclass(frozen=True)
class Home:
    """Blocks that are a parameter with its axes in this order, to the bit.

    ``label`` says how; ``piece`` is the one that they are as a whole, if they are one.
    """

    label: str
    axes: tuple[int, ...]
    blocks: tuple[Block, ...]
    piece: Piece | None = None

    @property
    def constants(self) -> set[str]:
        return {block.constant for block in self.blocks}


class Pool:
    """Pieces by what does not depend on an order: their kind, size and the sum of their bits."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.pieces = list(pieces)
        self._known: dict[tuple[str, int, int], list[Piece]] = {}
        for piece in self.pieces:
            values = piece.values
            self._known.setdefault(_key(values, bits(values)), []).append(piece)

    def homes(self, values: Array) -> Iterator[Home]:
        """Yield every piece that is these values, with the axes in some order."""
        squeezed = values.squeeze()
        own = bits(squeezed)
        for piece in self._known.get(_key(values, own), []):
            other = bits(piece.values)
            for axes in orders(squeezed, piece):
                if _same(own, axes, other):
                    yield Home(piece.label, axes, piece.blocks, piece)
                    break

    def of_size(self, values: Array) -> Iterator[Piece]:
        return (
            piece
            for piece in self.pieces
            if piece.size == values.size and piece.kind == kind(values)
        )


def orders(values: Array, piece: Piece) -> Iterable[tuple[int, ...]]:
    """Return the orders of axes that a parameter may have in a piece, its own first."""
    own = tuple(range(values.ndim))
    if piece.order == "rows" or values.ndim > MOST_AXES or values.ndim < 2:
        return (own,)
    if piece.order == "columns":
        return (own,) if piece.blocks[0].width == 1 else (own[::-1],)
    return permutations(own)


def _key(values: Array, own: Array) -> tuple[str, int, int]:
    return kind(values), values.size, int(own.sum(dtype=np.uint64))


def _same(own: Array, axes: Sequence[int], other: Array) -> bool:
    """Return whether an array, its axes in another order, has the elements of ``other``."""
    moved = own.transpose(axes)
    flat = other.reshape(-1)
    if moved.size > 64:
        few = np.linspace(0, moved.size - 1, 16).astype(np.int64)
        if not np.array_equal(moved[np.unravel_index(few, moved.shape)], flat[few]):
            return False
    return bool(np.array_equal(moved.reshape(-1), flat))
