"""Constants that were computed of parameters: recomputed in float64 and compared to one ulp."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from harness.accounting import formulas
from harness.accounting.constants import Piece
from harness.accounting.search import Home, Pool, orders
from harness.accounting.terms import Derived
from harness.core.schema import Array, Arrays

FEW = 16
ROUGH = 1e-4
"""How far a few elements may be away, relatively to the largest, for all to be compared."""
HALF, MOSTLY = 0.5, 0.9
"""The share of a few elements, and of all, that has to be right for others to be altered."""


@dataclass(frozen=True)
class Near:
    """A constant that a formula gives but for some elements of the whole ``of`` so many.

    The first of those is at ``place``, and is ``actual`` where the formula gives ``expected``.
    """

    formula: str
    label: str
    count: int
    of: int
    place: tuple[int, ...]
    actual: float
    expected: float

    @property
    def text(self) -> str:
        return (
            f"is altered at {self.count:,} of {self.of:,} elements of {self.formula} in"
            f" {self.label}; first at {list(self.place)}: {self.actual:.9g} where the formula gives"
            f" {self.expected:.9g}"
        )


@dataclass
class Results:
    """The formula and the place of each parameter that a constant was computed of.

    ``homes`` are all such places, ``near`` has those that were but for some elements.
    """

    known: dict[str, tuple[str, Home]] = field(default_factory=dict)
    homes: list[Home] = field(default_factory=list)
    near: dict[str, Near] = field(default_factory=dict)


def derived(parameters: Arrays, names: list[str], every: Arrays, pool: Pool) -> Results:
    """Return what is known of ``names``, of which constants of the pool may have been computed."""
    results = Results()
    pieces: dict[int, list[Piece]] = {}
    for piece in pool.pieces:
        if piece.kind.startswith("f"):
            pieces.setdefault(piece.size, []).append(piece)
    sizes = formulas.factors({size for value in every.values() for size in value.shape})
    for name in names:
        value = parameters[name]
        if value.dtype.kind == "f" and value.size > 1 and np.any(value):
            for piece in pieces.get(value.size, []):
                if found := _times(value, piece, sizes):
                    results.known[name] = (f"{found[0]} {name}", found[1])
                    break
    wide = {
        name: parameters[name].astype(np.float64)
        for name in names
        if parameters[name].dtype.kind == "f" and name not in results.known
    }
    hits: set[str] = set()
    for candidate in formulas.candidates(wide, every, hits):
        made: list[tuple[Array, Array]] = []
        for piece in pieces.get(prod(candidate.shape), []):
            found_here = _home(candidate, piece, made)
            if found_here is None:
                continue
            hits.add(candidate.formula)
            if isinstance(found_here, Home):
                results.homes.append(found_here)
            for name in candidate.sources:
                if name in wide:
                    if isinstance(found_here, Home):
                        results.known.setdefault(name, (candidate.formula, found_here))
                    else:
                        results.near.setdefault(name, found_here)
            if isinstance(found_here, Home):
                break
    return results


def _home(candidate: Derived, piece: Piece, made: list[tuple[Array, Array]]) -> Home | Near | None:
    """Return a piece where it is what a formula gives, with the axes in some order, or nearly.

    What the formula gives is kept in ``made``, once for all pieces.
    """
    shape = tuple(size for size in candidate.shape if size != 1)
    stand_in = np.empty(shape, np.uint8)
    target = piece.values.reshape(-1)
    near = None
    for axes in orders(stand_in, piece):
        moved = tuple(shape[axis] for axis in axes)
        if candidate.few and not _alike(candidate, shape, axes, moved, target):
            continue
        if not made:
            result, error = candidate.make()
            slacks = np.broadcast_to(np.asarray(error), candidate.shape).reshape(shape)
            made.append((result.reshape(shape), slacks))
        value, slack = (array.transpose(axes).reshape(-1) for array in made[0])
        few = slice(None, None, max(1, target.size // FEW))
        if np.mean(_within(target[few], value[few], slack[few])) < HALF:
            continue
        within = _within(target, value, slack)
        if np.all(within):
            return Home(piece.label, axes, piece.blocks, piece)
        if _mostly(within, value) and not _another(candidate, within, axes, moved):
            first = int(np.argmin(within))
            place = tuple(int(n) for n in np.unravel_index(first, moved))
            place = tuple(place[axis] for axis in np.argsort(axes))
            count, both = int(np.sum(~within)), (float(target[first]), float(value[first]))
            near = Near(candidate.formula, piece.label, count, target.size, place, *both)
    return near


def _mostly(within: Array, value: Array) -> bool:
    """Return whether most of what tells one value from another is within its bounds."""
    telling = within[value != np.median(value)]
    return len(telling) > 2 and (np.mean(telling) >= MOSTLY or int(np.sum(~telling)) == 1)


def _another(
    candidate: Derived, within: Array, axes: tuple[int, ...], moved: tuple[int, ...]
) -> bool:
    """Return whether another number in a formula than the guessed one may give what differs."""
    if not candidate.open:
        return False
    if candidate.channel is None or candidate.shape[candidate.channel] == 1:
        return True
    squeezed = [axis for axis, size in enumerate(candidate.shape) if size != 1]
    own = within.reshape(moved).transpose(np.argsort(axes))
    kept = squeezed.index(candidate.channel)
    return not np.all(own.any(axis=tuple(axis for axis in range(own.ndim) if axis != kept)))


def _alike(
    candidate: Derived,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    moved: tuple[int, ...],
    target: Array,
) -> bool:
    """Return whether most of a few elements are about the same."""
    assert candidate.few is not None
    flat = np.linspace(0, target.size - 1, min(FEW, target.size)).astype(np.int64)
    at = np.unravel_index(flat, moved) if moved else ()
    places: list[Array] = [np.zeros(len(flat), np.int64)] * len(shape)
    for place, axis in enumerate(axes):
        places[axis] = at[place]
    full, rest = [], iter(places)
    for size in candidate.shape:
        full.append(next(rest) if size != 1 else np.zeros(len(flat), np.int64))
    expected, actual = candidate.few(tuple(full)), target[flat].astype(np.float64)
    close = np.abs(expected - actual) <= ROUGH * np.abs(expected).max() + 1e-30
    return bool(np.mean(close) >= HALF)


def _times(value: Array, piece: Piece, known: Mapping[str, float]) -> tuple[str, Home] | None:
    """Return the factor by which a piece is a parameter, and the place."""
    squeezed, target = value.squeeze(), piece.values.reshape(-1)
    for axes in orders(squeezed, piece):
        flat = squeezed.transpose(axes).reshape(-1)
        place = int(np.argmax(np.abs(flat)))
        if not np.isfinite(flat[place]) or not flat[place]:
            return None
        ratio = float(target[place]) / float(flat[place])
        for text, factor in known.items():
            if abs(ratio - factor) <= 1e-6 * abs(factor):
                wide = flat.astype(np.float64) * factor
                if np.all(_within(target, wide, np.abs(wide) * 2.0**-23)):
                    return text, Home(piece.label, axes, piece.blocks, piece)
    return None


def _within(actual: Array, expected: Array, slack: Array) -> Array:
    """Return which numbers are within one ulp of the expected ones, and a slack."""
    with np.errstate(all="ignore"):
        ulp = np.abs(np.spacing(expected.astype(actual.dtype))).astype(np.float64)
        return np.asarray(np.abs(actual.astype(np.float64) - expected) <= ulp + slack)


def narrowed(parameters: Arrays, names: list[str], pool: Pool) -> Iterator[tuple[str, str, Home]]:
    """Yield the parameters that a float16 graph holds, rounded to it."""
    for name in names:
        if parameters[name].dtype == np.float32:
            with np.errstate(over="ignore"):
                half = parameters[name].astype(np.float16)
            for home in pool.homes(half):
                yield name, f"float16({name})", home
                break
