"""The cases that a reference model is recorded at, and the formulas of their inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import cycle
from math import prod
from typing import Any

import numpy as np

from harness.core.schema import (
    BATCH,
    Array,
    Arrays,
    Case,
    ModelSpec,
    Raggedness,
    RowLengths,
    TensorSpec,
)
from harness.goldens.formulas import Formula, bits, evaluate
from reference_models.row_lengths import counts

LENGTHS = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 16, 17, 20, 23, 31, 32, 33, 50, 60, 63, 64, 65),
    *(97, 100, 127, 128, 129, 200, 255, 256, 257, 500, 511, 512, 513, 1000, 1009, 1023, 1024),
    *(1025, 2003, 2047, 2048, 2049, 3000, 4093, 4095, 4096),
)
BATCHES = (1, 3, 2)
EVERY_RAGGEDNESS = (3, 5, 8, 16, 33)
OTHER_LENGTHS = (3, 1, 7, 2, 40, 12, 5, 128)
WIDE = ((1, 8), (7, 5), (16, 8), (33, 5))
SQUARE = (2, 3, 5)
"""Lengths that are also the batch, so that an exchange of the two shows in the values."""
CROWDED = ((3, 16),)
"""Batches larger than any example's, so that one that is baked in does not fit."""
EXTRA = (*WIDE, *CROWDED, *zip(SQUARE, SQUARE, strict=True))
PRODUCTION = ((2, 64), (21, 3), (6, 5), (12, 4), (3, 33), (4, 17))
"""Lengths and batches as production feeds them: large ones, and short ones between the others."""
NOTHING_YET = ((1, 1), (2, 3), (7, 2), (8, 5), (33, 2), (100, 1))
"""Lengths of the other axis, and batches, at which an axis that may be empty is empty."""
HALF_FULL = ((3, 4), (16, 17), (40, 60))
"""Lengths of the other axis and of one that may be empty, together as long as relations want."""
FULL = (
    (Raggedness.RIGHT, RowLengths.MIXED),
    (Raggedness.RIGHT, RowLengths.DESCENDING),
    (Raggedness.LEFT, RowLengths.MIXED),
    (Raggedness.EMPTY, RowLengths.TWO),
    (Raggedness.GAPPED, RowLengths.MIXED),
    (Raggedness.EMPTY, RowLengths.LATE),
)
"""The padding of each of them: a full row stands beside padded or empty ones."""
UNPADDED = 3
"""How many of them a model without padding has."""
MORE_ROWS, FEWEST_ROWS = 17, 3
"""The rows that one of them has at least, and the others, whatever their outputs' size."""
OUTPUT_VALUES = 1536
"""The stored values of the outputs of such a case, at most, where it has more rows than these."""
ENDS, RUNS = 1, 2
"""The draws in which inputs hold the ends of their ranges, and values that repeat."""
ALL_STEPS = 8
KEPT_STEPS = 5


def plan(spec: ModelSpec) -> list[Case]:
    """Return every case of ``spec``: all lengths, several batches, every raggedness that it has.

    Those that are like production's come last.
    """
    return _distinct(_fitted(spec, case) for case in (*_swept(spec), *_production(spec)))


def _fitted(spec: ModelSpec, case: Case) -> Case:
    """Return the case with lengths that follow the rules of the axes."""
    lengths = spec.fitted(case.lengths)
    kind = possible(lengths[spec.ragged], case.raggedness) if spec.ragged else case.raggedness
    return replace(case, lengths=lengths, raggedness=kind)


def free_axes(spec: ModelSpec) -> tuple[str, ...]:
    """Return the sequence axes whose lengths follow from no others."""
    bound = {axis for axis, rule in spec.rules.items() if rule.terms}
    return tuple(axis for axis in spec.axes if axis not in bound)


def _swept(spec: ModelSpec) -> list[Case]:
    axes = free_axes(spec)
    if len(axes) == 2:
        return _two_lengths(spec)
    (axis,) = axes
    cases = [
        Case({axis: length}, batch) for length, batch in zip(LENGTHS, cycle(BATCHES), strict=False)
    ]
    if spec.ragged is None:
        return cases + [Case({axis: length}, batch) for length, batch in EXTRA]
    ragged = [
        Case(case.lengths, case.batch, possible(case.lengths[axis], kind))
        for case, kind in zip(cases, cycle(spec.raggedness), strict=False)
    ]
    ragged += [
        Case({axis: length}, 2, possible(length, kind))
        for length in EVERY_RAGGEDNESS
        for kind in spec.raggedness
    ]
    ragged += [
        Case({axis: length}, length, kind)
        for length in SQUARE
        for kind in (Raggedness.NONE, Raggedness.RIGHT)
    ]
    ragged += [Case({axis: length}, batch, Raggedness.RIGHT) for length, batch in CROWDED]
    return _distinct(ragged)


def formulas(spec: ModelSpec, case: Case, seed: int) -> dict[str, Formula]:
    """Return the formula of every input of ``spec`` at ``case``."""
    result: dict[str, Formula] = {}
    by_axis = _ragged(spec, case, seed)
    for number, tensor in enumerate(spec.inputs):
        axis = spec.padded_axis(tensor)
        ragged = by_axis.get(axis, {}) if axis else {}
        if ragged and tensor.axes[:2] == (axis, BATCH):
            ragged = {**ragged, "time_first": True}
        if tensor.name in spec.causal:
            result[tensor.name] = {"causal": True, "marks": list(spec.causal[tensor.name])}
        elif tensor.name in spec.lengths and not (ragged and BATCH in tensor.axes):
            result[tensor.name] = {"constant": case.lengths[spec.lengths[tensor.name]]}
        elif tensor.name in spec.lengths:
            result[tensor.name] = {"each": ragged["counts"]}
        elif tensor.name in spec.masks:
            marks = {"marks": list(spec.mark(tensor.name))} if tensor.name in spec.marks else {}
            result[tensor.name] = {"valid": True, "seed": seed * 16, **ragged, **marks}
            if not ragged:
                result[tensor.name] = {"constant": spec.mark(tensor.name)[0]}
        else:
            formula = {"seed": seed * 16 + 2 * number, "low": tensor.low, "high": tensor.high}
            formula |= {"normal": True} if tensor.normal else {}
            formula |= {"whole": True} if tensor.whole else {}
            if tensor.name in spec.paddings and ragged:
                formula |= {"places": seed * 16} if spec.masks or spec.also_padded else {}
                padding = spec.paddings[tensor.name]
                formula |= ragged | ({"padding": padding} if padding else {})
            result[tensor.name] = formula
    return result


def _ragged(spec: ModelSpec, case: Case, seed: int) -> dict[str, dict[str, Any]]:
    """Return what formulas have of the padding of each ragged axis.

    Every axis has the case's kind of padding, but rows and places of its own.
    """
    result: dict[str, dict[str, Any]] = {}
    for place, axis in enumerate(spec.ragged_axes):
        steps = case.lengths[axis]
        kind = case.raggedness if place == 0 else possible(steps, case.raggedness)
        if kind is Raggedness.NONE:
            continue
        if place == 0:
            result[axis] = {"raggedness": kind.value, "counts": counts(case, steps, seed)}
            continue
        own, turn = seed_of(f"{seed}/{axis}"), place % case.batch
        rows = counts(replace(case, raggedness=kind), steps, own)
        rows = rows[-turn:] + rows[:-turn] if turn else rows
        result[axis] = {"raggedness": kind.value, "counts": rows, "places": own * 16}
    return result


def seed_of(text: str) -> int:
    """Return a seed that depends on a text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def drawn(spec: ModelSpec, case: Case, seed: int) -> tuple[dict[str, Formula], Arrays]:
    """Return the formula and the value of every input of ``spec`` at ``case``."""
    by_name = {
        name: _changed(case, tensor, formula)
        for (name, formula), tensor in zip(
            formulas(spec, case, seed).items(), spec.inputs, strict=True
        )
    }
    return by_name, {
        t.name: evaluate(by_name[t.name], t.shape(case.batch, case.lengths), t.dtype)
        for t in spec.inputs
    }


def ends(tensor: TensorSpec) -> list[float]:
    """Return both ends of an input's range and, of floats, 0 where it holds that."""
    dtype = np.dtype(tensor.dtype)
    if tensor.whole or dtype.kind in "iu":
        return [tensor.low, tensor.high - 1]
    low = np.asarray(tensor.low, dtype)
    high = np.nextafter(np.asarray(tensor.high, dtype), low)
    return [float(low), float(high)] + [0.0] * (tensor.low <= 0 < tensor.high)


def _changed(case: Case, tensor: TensorSpec, formula: Formula) -> Formula:
    """Return the formula with what the case's draw adds to an input that is drawn."""
    if "low" in formula and case.draw == ENDS:
        return {**formula, "ends": ends(tensor)}
    if "low" in formula and case.draw == RUNS and tensor.step_axis == 1:
        return {**formula, "runs": True}
    return formula


def kept_steps(steps: int, seed: int) -> Array | None:
    """Return the steps whose outputs are stored: None for all, or both ends and some between."""
    if steps <= ALL_STEPS:
        return None
    between = KEPT_STEPS - 3
    edges = np.linspace(1, steps - 2, between + 1).astype(np.int64)
    width = np.maximum(np.diff(edges), 1)
    inner = edges[:-1] + (bits(seed, between) % width.astype(np.uint64)).astype(np.int64)
    return np.unique(np.concatenate([[0], inner, [steps - 2, steps - 1]]))


def output_steps(spec: ModelSpec, case: Case) -> int:
    """Return the length of the outputs' time axis, the shortest if they differ.

    Where no output has one it is the longest of the case.
    """
    axes = [t.axes[t.step_axis] for t in spec.outputs if t.step_axis is not None]
    sizes = [axis if isinstance(axis, int) else case.lengths[axis] for axis in axes]
    return min(sizes, default=case.longest)


def _distinct(cases: Iterable[Case]) -> list[Case]:
    return list({case.id: case for case in cases}.values())


def _production(spec: ModelSpec) -> Iterator[Case]:
    """Yield cases of large batches and full rows, which hold ends, runs and uniform values in turn.

    Rows are fewer where the stored values of the outputs are many.
    """
    unpadded = ((Raggedness.NONE, RowLengths.FIRST),) * UNPADDED
    kinds = FULL if spec.ragged else unpadded
    for number, ((length, batch), (kind, rows)) in enumerate(zip(PRODUCTION, kinds, strict=False)):
        others = dict(zip(free_axes(spec), (length, length + 1), strict=False))
        least = FEWEST_ROWS if number else MORE_ROWS
        most = max(OUTPUT_VALUES // _stored_values(spec, Case(spec.fitted(others), 1)), least)
        yield Case(others, min(batch, most), kind, draw=(number + 1) % 3, rows=rows)


def _stored_values(spec: ModelSpec, case: Case) -> int:
    """Return how many values of a case's outputs a golden holds."""
    total = 0
    for tensor in spec.outputs:
        shape = [*tensor.shape(case.batch, case.lengths)]
        if tensor.step_axis is not None and output_steps(spec, case) > ALL_STEPS:
            shape[tensor.step_axis] = KEPT_STEPS
        total += prod(shape)
    return total


def _two_lengths(spec: ModelSpec) -> list[Case]:
    """Return every length of each axis with changing ones of the other, which may be ragged."""
    axes = free_axes(spec)
    cases = _distinct([*_pairs(*axes), *_empty(spec)])
    axis = spec.ragged
    if axis is None:
        return cases
    ragged = [
        Case(case.lengths, case.batch, possible(case.lengths[axis], kind))
        for case, kind in zip(cases, cycle(spec.raggedness), strict=False)
    ]
    ragged += [
        Case({**dict.fromkeys(axes, other), axis: length}, 2, possible(length, kind))
        for length, other in zip(EVERY_RAGGEDNESS, OTHER_LENGTHS, strict=False)
        for kind in spec.raggedness
    ]
    return _distinct(ragged)


def _pairs(first: str, second: str) -> Iterator[Case]:
    for length, other, batch in zip(LENGTHS, cycle(OTHER_LENGTHS), cycle(BATCHES), strict=False):
        yield Case({first: length, second: other}, batch)
    for length, other in zip(LENGTHS[::2], cycle(OTHER_LENGTHS), strict=False):
        yield Case({first: other, second: length}, 2)
    for length, batch in EXTRA:
        yield Case({first: length, second: length}, batch)


def _empty(spec: ModelSpec) -> Iterator[Case]:
    """Yield cases in which one of two axes, whose rule allows it, has no steps, and has some."""
    axes = free_axes(spec)
    for axis in axes:
        if axis in spec.rules and spec.rules[axis].least == 0:
            for length, batch in NOTHING_YET:
                yield Case({**dict.fromkeys(axes, length), axis: 0}, batch)
            for length, before in HALF_FULL:
                yield Case({**dict.fromkeys(axes, length), axis: before}, 2)


def possible(length: int, kind: Raggedness) -> Raggedness:
    """Return the raggedness that rows of ``length`` can have instead of ``kind``.

    One step has nothing to pad, two have no gap between them.
    """
    if length == 1 and kind is not Raggedness.EMPTY:
        return Raggedness.NONE
    return Raggedness.RIGHT if length == 2 and kind is Raggedness.GAPPED else kind
