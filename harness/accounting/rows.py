"""Where the rows of a parameter lie among those of constants, in every layout of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, permutations
from math import prod

import numpy as np

from harness.accounting.constants import Constant, bits, joined, kind
from harness.accounting.form import Block
from harness.accounting.search import Home
from harness.core.schema import Array

ELEMENTS = 2**17
"""The largest array of which single elements are looked for among others."""
REPEATS = 8
"""RowIndex that are there more often than this say nothing of where a block lies."""
SAMPLE = 4096
MOST_BLOCKS = 24
_SEED = 1


def _turned(own: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    """Return the orders of axes in which rows are looked for: of four and more, the usual ones."""
    if len(own) < 4:
        return permutations(own)
    first = [(axis, *(other for other in own if other != axis)) for axis in own]
    last = [(axis, *(other for other in own[::-1] if other != axis)) for axis in own]
    kernels = [(*own[:1:-1], *own[:2]), (*own[2:], *own[1::-1])]
    return dict.fromkeys([*first, *last, *kernels])


@dataclass(frozen=True, eq=False)
class _Layout:
    """An array as a matrix: its axes in an order, the first ones its rows."""

    axes: tuple[int, ...]
    rows: Array
    constant: Constant | None = None

    @cached_property
    def hashes(self) -> Array:
        """A number for each row; zeros at its end do not change it."""
        width = self.rows.shape[1]
        factors = _factors(width)
        total = np.zeros(len(self.rows), np.uint64)
        step = max(1, 2**20 // width)
        for first in range(0, len(self.rows), step):
            part = self.rows[first : first + step].astype(np.uint64)
            total[first : first + step] = (part * factors).sum(axis=1, dtype=np.uint64)
        return total


def _factors(width: int) -> Array:
    drawn = np.random.default_rng(_SEED).integers(0, 2**63, width, dtype=np.uint64)
    return np.asarray(drawn * np.uint64(2) + np.uint64(1))


def _matrices(values: Array, axes: tuple[int, ...], parameter: bool) -> Iterator[Array]:
    """Yield an array as a matrix with its first axes as rows, at every place between two axes."""
    moved = bits(values).transpose(axes)
    shape = moved.shape
    last = len(shape) if len(shape) == 1 or _small(moved, parameter) else len(shape) - 1
    whole = (parameter or len(shape) == 1) and moved.size <= ELEMENTS
    for place in range(0 if whole else 1, last + 1):
        yield moved.reshape(prod(shape[:place]), -1)


def _small(moved: Array, parameter: bool) -> bool:
    return not parameter and moved.size <= ELEMENTS


class RowIndex:
    """The rows of constants, in every layout that keeps blocks together."""

    def __init__(self, found: Mapping[str, Constant], kind_: str) -> None:
        self.found = found
        layouts: list[_Layout] = []
        for constant in found.values():
            if kind(constant.array) != kind_ or not constant.array.ndim:
                continue
            own = tuple(range(constant.array.ndim))
            for axis in own:
                axes = (axis, *(a for a in own if a != axis))
                for matrix in _matrices(constant.array, axes, False):
                    if axis == 0 or matrix.shape[1] > 1:
                        layouts.append(_Layout(axes, matrix, constant))
        self.layouts = layouts
        sizes = [len(layout.rows) for layout in layouts]
        hashes = np.concatenate([np.zeros(0, np.uint64), *(one.hashes for one in layouts)])
        order = np.argsort(hashes, kind="stable")
        self.hashes = hashes[order]
        self.owner = np.repeat(np.arange(len(layouts)), sizes)[order]
        places = [np.arange(size) for size in sizes]
        self.row = np.concatenate([np.zeros(0, np.int64), *places])[order]

    def best(self, values: Array) -> RowMatches | None:
        """Return the layout of which most rows are found, of those the one in fewest blocks."""
        squeezed = values.squeeze()
        if not squeezed.ndim or not self.layouts:
            return None
        own = tuple(range(squeezed.ndim))
        best: RowMatches | None = None
        for axes in _turned(own):
            for matrix in _matrices(squeezed, axes, True):
                found = self._found(_Layout(axes, matrix))
                if found and (best is None or found.better_than(best)):
                    best = found
        return best

    def _found(self, parameter: _Layout) -> RowMatches | None:
        """Return the rows of a parameter that lie among the constants', diagonal by diagonal."""
        hashes = parameter.hashes
        left = np.searchsorted(self.hashes, hashes, "left")
        times = np.searchsorted(self.hashes, hashes, "right") - left
        owner, start = np.full(len(hashes), -1), np.zeros(len(hashes), np.int64)
        for _ in range(MOST_BLOCKS):
            vote = self._vote(left, times, owner < 0)
            if vote is None:
                break
            layout, offset = vote
            other = self.layouts[layout].hashes
            rows = np.arange(max(0, -offset), min(len(hashes), len(other) - offset))
            same = rows[(hashes[rows] == other[rows + offset]) & (owner[rows] < 0)]
            if not len(same):
                break
            owner[same], start[same] = layout, same + offset
        return RowMatches(self, parameter, owner, start) if np.any(owner >= 0) else None

    def _vote(self, left: Array, times: Array, open_: Array) -> tuple[int, int] | None:
        """Return the layout and the offset on which most of the rows left over lie."""
        rows = np.flatnonzero(open_ & (times > 0))
        rare = rows[times[rows] <= REPEATS]
        rows = (rare if len(rare) else rows)[: SAMPLE if len(rare) else 64]
        if not len(rows):
            return None
        owners, offsets = [], []
        for number in range(REPEATS):
            some = rows[times[rows] > number]
            places = left[some] + number
            owners.append(self.owner[places])
            offsets.append(self.row[places] - some)
        pairs = np.stack([np.concatenate(owners), np.concatenate(offsets)], axis=1)
        unique, counts = np.unique(pairs, axis=0, return_counts=True)
        layout, offset = unique[int(np.argmax(counts))]
        return int(layout), int(offset)


@dataclass(frozen=True, eq=False)
class RowMatches:
    """The rows of a parameter in one layout: of each the layout among the constants', and where.

    ``owner`` is -1 for a row that is nowhere.
    """

    rows: RowIndex
    parameter: _Layout
    owner: Array
    start: Array

    @cached_property
    def share(self) -> float:
        return float(np.mean(self.owner >= 0))

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """The first and the last + 1 of rows that lie one behind the other."""
        steps = (np.diff(self.owner) != 0) | (np.diff(self.start) != 1)
        bounds = [0, *(np.flatnonzero(steps) + 1).tolist(), len(self.owner)]
        pairs = pairwise(bounds)
        return [(first, end) for first, end in pairs if self.owner[first] >= 0]

    @cached_property
    def along(self) -> Array:
        """Which rows lie as far apart from each other as in the parameter, of most that do."""
        offsets = self.start - np.arange(len(self.start))
        pairs = np.stack([self.owner, offsets], axis=1)[self.owner >= 0]
        unique, counts = np.unique(pairs, axis=0, return_counts=True)
        owner, offset = unique[int(np.argmax(counts))]
        return np.asarray((self.owner == owner) & (offsets == offset))

    def better_than(self, other: RowMatches) -> bool:
        return self._worth > other._worth

    @property
    def _worth(self) -> tuple[bool, float, float]:
        if self.share == 1:
            return True, -len(self.runs), 0.0
        return False, float(np.mean(self.along)), self.share

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        blocks = []
        for first, end in self.runs:
            layout = self.rows.layouts[self.owner[first]]
            assert layout.constant is not None
            columns, width = layout.rows.shape[1], self.parameter.rows.shape[1]
            place = layout.constant.name, layout.axes, columns, width
            blocks.append(Block(*place, int(self.start[first]), end - first))
        return tuple(blocks)

    @property
    def fits(self) -> bool:
        """Whether the rows are all there, to the bit, as their hashes have it."""
        try:
            values = joined(self.rows.found, self.blocks)
        except ValueError:
            return False
        return self.share == 1 and np.array_equal(bits(values), self.parameter.rows)

    @property
    def telling(self) -> bool:
        """Whether that much is no chance: single elements may be anywhere, if few differ."""
        if self.parameter.rows.shape[1] > 1 or len(self.runs) == 1:
            return True
        elements = self.parameter.rows.reshape(-1)
        return len(np.unique(elements)) > elements.size / 2

    @property
    def in_order(self) -> bool:
        """Whether each block of a constant lies in it behind the one before."""
        return ascending(self.blocks)

    def home(self) -> Home:
        label = " + ".join(dict.fromkeys(self.rows.found[b.constant].label for b in self.blocks))
        return Home(label, self.parameter.axes, self.blocks)


def ascending(blocks: Sequence[Block]) -> bool:
    """Return whether the blocks of each constant lie in it in their order."""
    ends: dict[str, int] = {}
    for block in blocks:
        if block.start < ends.get(block.constant, 0):
            return False
        ends[block.constant] = block.start + block.rows
    return True
