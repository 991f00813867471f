"""What is wrong with a parameter: it is altered, in another place, or there twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.accounting.constants import Constant, Piece, bits, kind
from harness.accounting.form import Status
from harness.accounting.rows import RowIndex, RowMatches
from harness.accounting.search import Home, Pool, orders
from harness.accounting.terms import layer, parts
from harness.core.schema import Array
from harness.graphs.narrow import bfloat16, float16, tf32
from harness.graphs.rounded import exact

ALIKE = 0.5
"""The share of elements, of those that differ among themselves, that has to be the same."""
SURE, SMALL, TINY = 0.9, 1e-2, 1e-5
"""With this share the same, and the others this close, nothing but a change explains it."""
COPY = 0.98
"""The share that makes a constant a copy of a parameter that is also there as it is."""
MOVED = 1e-3
"""How far each element may be moved, relatively, in a constant that stands for the parameter."""
FEW_BLOCKS = 4
FEW_ULPS = 4
SOME = 256
"""How many elements tell which number a constant may be."""
_ROLES = {"weight_ih": "W", "weight_hh": "R", "kernel": "W", "recurrent_kernel": "R", "bias": ""}
_ROLES |= {"bias_ih": "B[W]", "bias_hh": "B[R]", "recurrent_bias": "B[R]"}
"""What parameters of recurrent layers are to ONNX's nodes, by the frameworks' names for them."""


@dataclass(frozen=True)
class Suspicion:
    """What is wrong with a parameter.

    A ``share`` of the elements is as it should be. It is ``sure`` where nothing but a defect
    explains it; ``instead`` is what the graph has in the parameter's place, ``home`` where all of
    it lies, in a wrong order. A ``tiny`` change may not show in outputs; of a ``masked`` one some
    elements, and no whole rows, are one value.
    """

    status: Status
    text: str
    sure: bool
    instead: Array | None = None
    home: Home | None = None
    share: float = 0.0
    tiny: bool = False
    masked: bool = False


def of(value: Array, pool: Pool, rows: RowIndex, free: Callable[[Piece], bool]) -> Suspicion | None:
    """Return what is wrong with a parameter that no constant holds; None where nothing tells.

    Only pieces that are ``free``, of constants that are not wholly some parameters', are looked at.
    """
    if value.size < 2 or constant(value):
        return None
    same_size = [*filter(free, pool.of_size(value))]
    doubt = near(value, same_size)
    if doubt is None or doubt.status == "misplaced":
        doubt = _by_rows(value, rows) or doubt
    return doubt or _moved(value, same_size)


def near(value: Array, pieces: Iterable[Piece]) -> Suspicion | None:
    """Return what is wrong with the piece that is most like a parameter; None without one."""
    if value.size < 2:
        return None
    some = [p for p in pieces if p.size == value.size and p.kind == kind(value)]
    return _nearest(value, some) if some else None


def strayed(homes: Mapping[str, Sequence[Home]]) -> dict[str, Suspicion]:
    """Return what is wrong with recurrent weights that are not where others of their layer are.

    Or that stand for the input where they are the state's.
    """
    wrong: dict[str, Suspicion] = {}
    layers: dict[str, dict[str, set[str]]] = {}
    for name, found in homes.items():
        if any(home.piece and constant(home.piece.values) for home in found):
            continue
        role = _ROLES.get(re.sub(r"_l\d+(_reverse)?$", "", parts(name)[-1]))
        pieces = [home.piece for home in found if home.piece and home.piece.node]
        if role is None or len(pieces) < len(found):
            continue
        layers.setdefault(layer(name), {})[name] = {piece.node for piece in pieces}
        strict = role in "WR" or any(piece.label.startswith("GRU") for piece in pieces)
        if strict and role and not any(piece.role in (role, "B") for piece in pieces):
            text = f"is in the place of another weight: {pieces[0].label}"
            wrong[name] = Suspicion("misplaced", text, True)
    for members in layers.values():
        common = Counter(node for nodes in members.values() for node in nodes).most_common(1)
        for name, nodes in members.items():
            if common[0][0] not in nodes and common[0][1] > 1:
                label = next(home.label for home in homes[name])
                text = f"is in another node or direction than its layer: {label}"
                wrong.setdefault(name, Suspicion("misplaced", text, True))
    return wrong


def doubled(homes: Mapping[str, Iterable[Home]]) -> dict[str, Suspicion]:
    """Return what is wrong with parameters that stand in both halves of a recurrent node's bias.

    One half is the place of another parameter, or of none. Two that are the same may stand there.
    """
    halves: dict[str, dict[str, set[str]]] = {}
    for name, found in homes.items():
        for home in found:
            piece = home.piece
            if piece is not None and "[" in piece.role and not constant(piece.values):
                halves.setdefault(piece.node, {}).setdefault(piece.role, set()).add(name)
    wrong = {}
    for by_half in halves.values():
        both = set.intersection(*by_half.values()) if len(by_half) == 2 else set()
        if len(both) == 1:
            text = "stands in both halves of the bias of a recurrent node"
            wrong[both.pop()] = Suspicion("doubled", text, True)
    return wrong


def constant(value: Array) -> bool:
    """Return whether all elements are the same."""
    own = bits(value).reshape(-1)
    return bool(np.all(own == own[0]))


def uneven(value: Array) -> str:
    """Return how a constant is one number, such as 1, but for some elements that are close to it.

    Empty where it is not: nothing but a change makes 1.0000001 of some of many ones.
    """
    if value.dtype.kind != "f" or value.size < 2:
        return ""
    flat = value.reshape(-1)
    few, counts = np.unique(flat[:: max(1, flat.size // SOME) | 1], return_counts=True)
    usual = few[np.argmax(counts)]
    if not usual or not np.isfinite(usual) or not exact(np.asarray(usual)):
        return ""
    if 2 * np.sum(flat == usual) < flat.size:
        return ""
    distance = np.abs(flat - usual)
    if not np.all(distance <= FEW_ULPS * np.spacing(np.abs(usual))) or not np.any(distance):
        return ""
    places = np.argwhere(value != usual)
    first = tuple(int(n) for n in places[0])
    return (
        f"is {usual:.9g} everywhere but at {len(places):,} of {value.size:,} elements; first at"
        f" {list(first)}: {_number(value[first])}{_ulps(usual, value[first])}"
    )


def _nearest(value: Array, pieces: Iterable[Piece]) -> Suspicion | None:
    """Return what is wrong with a copy of which more than half is as it should be."""
    squeezed = value.squeeze()
    own = bits(squeezed)
    telling: Array | None = None
    best: tuple[float, Suspicion] | None = None
    for piece in pieces:
        other = bits(piece.values).reshape(-1)
        for axes in orders(squeezed, piece):
            moved = own.transpose(axes)
            few = np.linspace(0, other.size - 1, min(other.size, 512)).astype(np.int64)
            sampled = moved.flat[few] == other[few]
            if float(np.mean(sampled)) < ALIKE / 2:
                continue
            telling = _telling(own) if telling is None else telling
            same = moved == other.reshape(moved.shape)
            share = float(np.mean(same[telling.transpose(axes)]))
            if share >= ALIKE and (best is None or share > best[0]):
                back = piece.values.reshape(moved.shape).transpose(np.argsort(axes))
                best = share, _differing(value, back.reshape(value.shape), piece.label, share)
    return best[1] if best else None


def _telling(own: Array) -> Array:
    """Return where a value is another than its usual one; everywhere if it has no such one."""
    elements, counts = np.unique(own, return_counts=True)
    common = 1 < counts.max() < own.size
    return own != elements[np.argmax(counts)] if common else np.ones(own.shape, bool)


def _differing(value: Array, other: Array, label: str, share: float) -> Suspicion:
    """Return what is wrong with a copy that differs from its parameter at some elements."""
    differs = bits(value) != bits(other)
    places = np.argwhere(differs)
    first = tuple(int(n) for n in places[0])
    count = f"{len(places):,} of {value.size:,} elements"
    expected, actual = value[differs], other[differs]
    if np.array_equal(np.sort(bits(expected)), np.sort(bits(actual))):
        axes = [axis for axis, size in enumerate(value.shape) if size > 2]
        line = next((a for a in axes if _lines(differs, a) == 2), None) if len(axes) > 1 else None
        what = "" if line is None else f", in two lines of axis {line}"
        text = f"has {count} in another place of {label}{what}; first at {list(first)}"
        return Suspicion("misplaced", text, True, other, share=share)
    with np.errstate(all="ignore"):
        apart = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
        relative = apart / (np.abs(expected.astype(np.float64)) + 1e-38)
    largest = float(np.max(relative))
    text = (
        f"is altered at {count} in {label}; first at {list(first)}: {_number(other[first])} where"
        f" the model has {_number(value[first])}{_ulps(value[first], other[first])}"
    )
    sure = largest <= SMALL and (share >= SURE or len(places) == 1)
    whole_rows = bool(np.all(differs.reshape(len(differs), -1).all(axis=1)[places[:, 0]]))
    masked = len(places) > 1 and constant(actual) and not whole_rows
    tiny = largest <= TINY
    return Suspicion("altered", text, sure, other, share=share, tiny=tiny, masked=masked)


def _lines(differs: Array, axis: int) -> int:
    rest = tuple(a for a in range(differs.ndim) if a != axis)
    return int(np.sum(differs.any(axis=rest)))


def _number(value: Array) -> str:
    return f"{value:.9g}" if value.dtype.kind == "f" else str(value)


def _ulps(expected: Array, actual: Array) -> str:
    if expected.dtype.kind != "f" or not np.isfinite([expected, actual]).all():
        return ""
    kinds = {2: np.int16, 4: np.int32, 8: np.int64}
    a, b = (int(np.asarray(v).view(kinds[v.dtype.itemsize])) for v in (expected, actual))
    lowest = -(1 << (8 * expected.dtype.itemsize - 1))
    a, b = (n if n >= 0 else lowest - n for n in (a, b))
    return f" ({abs(a - b):,} ulp)"


def _by_rows(value: Array, rows: RowIndex) -> Suspicion | None:
    """Return what is wrong with a part of a larger constant, or with the order of rows."""
    found = rows.best(value)
    if found is None or not found.telling:
        return None
    if found.share == 1 and (doubt := _order(found)):
        return doubt if found.fits else None
    along = _along(found, value)
    if along is None:
        return None
    label, other, share = along
    return _differing(value, other, label, share)


def second(spare: Constant, found: RowMatches) -> tuple[str, Suspicion] | None:
    """Return the parameter of which a constant is a part or a copy, but for a change."""
    along = _along(found, spare.array)
    if along is None or found.parameter.rows.shape[1] == 1:
        return None
    name, value, share = along
    doubt = _differing(value, spare.array, spare.label, share)
    return (name, doubt) if share >= COPY and doubt.sure else None


def _along(found: RowMatches, value: Array) -> tuple[str, Array, float] | None:
    """Return what stands where most of an array's rows lie one behind the other.

    That is the label of the constant, its part in the array's shape, and the share that is alike.
    """
    first = int(np.argmax(found.along))
    layout, count = found.rows.layouts[found.owner[first]], len(found.owner)
    offset = int(found.start[first]) - first
    inside = offset >= 0 and offset + count <= len(layout.rows)
    if np.mean(found.along) < ALIKE or not inside or layout.constant is None:
        return None
    width = found.parameter.rows.shape[1]
    part = layout.rows[offset : offset + count]
    if np.any(part[:, width:]):
        return None
    axes = found.parameter.axes
    raw = np.ascontiguousarray(part[:, :width]).reshape([value.squeeze().shape[a] for a in axes])
    dtype = np.dtype(np.int64) if value.dtype.kind in "iu" else value.dtype
    back = np.ascontiguousarray(raw.transpose(np.argsort(axes)).reshape(value.shape)).view(dtype)
    other = back.astype(value.dtype, copy=False)
    return layout.constant.label, other, float(np.mean(bits(other) == bits(value)))


def _order(found: RowMatches) -> Suspicion | None:
    """Return what is wrong with a parameter whose rows are all there in another order.

    Of a weight that is no table a model itself may exchange blocks before it uses them.
    """
    of_node = any(found.rows.found[block.constant].weight_of for block in found.blocks)
    label = found.home().label
    table = label.startswith("Gather") and len(found.runs) <= FEW_BLOCKS
    if not of_node and (found.in_order or not table or _mostly(found)):
        return None
    axis = found.parameter.axes[0]
    ends = [run[0] for run in found.runs]
    starts = [int(found.start[run[0]]) for run in found.runs]
    row = next((n for n, s in zip(ends, starts, strict=True) if s - starts[0] != n - ends[0]), 0)
    what = "is in no order of gates" if of_node else "has its blocks in another order"
    text = f"{what} in {label}; first at index {row} of axis {axis}"
    return Suspicion("misplaced", text, True, home=found.home())


def _mostly(found: RowMatches) -> bool:
    """Return whether most rows are in place."""
    return float(np.mean(found.along)) >= SURE


def _moved(value: Array, pieces: Iterable[Piece]) -> Suspicion | None:
    """Return a constant of which every element is close to the parameter's, or it but rounded.

    Rounding moves small numbers far, relatively: float16 has but seven bits of 1e-5.
    """
    if value.dtype.kind != "f":
        return None
    squeezed = value.squeeze()
    limit = MOVED * np.abs(squeezed.astype(np.float64)) + 1e-38
    with np.errstate(over="ignore"):
        roundings = [rounded(squeezed) for rounded in (float16, bfloat16, tf32)]
    for piece in pieces:
        uniform = constant(piece.values)
        for axes in orders(squeezed, piece):
            shape = tuple(squeezed.shape[axis] for axis in axes)
            back = piece.values.reshape(shape).transpose(np.argsort(axes))
            close = np.all(np.abs(back.astype(np.float64) - squeezed) <= limit)
            if close or (not uniform and any(np.array_equal(back, r) for r in roundings)):
                return _differing(value, back.reshape(value.shape), piece.label, 0.0)
    return None
