"""The cases that a user model is recorded at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, pairwise
from math import prod

from harness.core.schema import (
    AT_THE_END,
    BATCH,
    Case,
    ModelSpec,
    Raggedness,
    RowLengths,
    TensorSpec,
)
from harness.goldens.formulas import bits
from harness.goldens.noise_floor import ENOUGH
from reference_models.cases import CROWDED, SQUARE, possible, seed_of

LENGTHS = (
    *(1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 200),
    *(255, 256, 257),
)
BATCHES = (1, 3, 2)
WIDE = {2: 64, 4: 33, 7: 31, 9: 32, 13: 7, 16: 8, 17: 8, 31: 4, 32: 7, 33: 5}
"""Batches at some of the ``LENGTHS``, where both are default."""
BETWEEN = (33, 64, 31, 32, 16, 4, 3, 2, 2)
"""A batch for each gap in ``LENGTHS``, smaller where rows are longer; a length in it is drawn."""
EVERY_RAGGEDNESS = ((3, 2), (5, 4), (33, 3))
"""Lengths at which every raggedness comes, with their batch."""
OUTPUT_VALUES = 2**23
"""The values of a case's outputs, at most, where its batch is not asked for."""
LONG = (1024, 2)
"""The length of the long case, and its batch where rows are padded."""
KINDS = (
    (Raggedness.NONE, RowLengths.FIRST),
    (Raggedness.RIGHT, RowLengths.MIXED),
    (Raggedness.LEFT, RowLengths.FIRST),
    (Raggedness.GAPPED, RowLengths.FIRST),
    (Raggedness.EMPTY, RowLengths.FIRST),
    (Raggedness.RIGHT, RowLengths.DESCENDING),
    (Raggedness.EMPTY, RowLengths.TWO),
    (Raggedness.RIGHT, RowLengths.FIRST),
    (Raggedness.LEFT, RowLengths.MIXED),
    (Raggedness.EMPTY, RowLengths.LATE),
    (Raggedness.GAPPED, RowLengths.MIXED),
)
"""Where valid steps lie and how long rows are, in the order in which cases take turns."""


def plan(
    spec: ModelSpec, lengths: Sequence[int], batches: Sequence[int], right: bool = False
) -> list[Case]:
    """Return every length of every axis, the others changing, at every raggedness.

    With ``right``, padding is only at the end of a row. With the default ``LENGTHS`` there are also
    some between them, drawn by the model's name. With the default ``BATCHES`` there are cases whose
    batch is the length, and some whose batch is larger than any example's: ``WIDE`` and ``BETWEEN``
    ones with both defaults. Where there are fewer than ``ENOUGH`` cases, each is drawn more than
    once.
    """
    single = not any(BATCH in tensor.axes for tensor in spec.inputs)
    axes = free_axes(spec)
    usual = tuple(lengths) == LENGTHS, tuple(batches) == BATCHES and not single
    rows = (1,) if single else tuple(batches)
    if all(usual) and not axes:
        rows = tuple(sorted({*rows, *BETWEEN}))
    sizes = list(_sizes(axes, lengths, rows, WIDE if all(usual) else {}))
    if axes and len(lengths) < len(rows):
        sizes += [(dict.fromkeys(axes, length), batch) for length in lengths for batch in rows]
    if axes:
        more = [(n, n) for n in SQUARE] + [*CROWDED] if all(usual) else []
        if usual[1] and not usual[0]:
            more = [(lengths[len(lengths) // 2], CROWDED[0][1])]
        sizes += [(dict.fromkeys(axes, length), batch) for length, batch in more]
    sizes += [({**dict.fromkeys(axes, lengths[0]), **end}, max(rows)) for end in _ends(spec, axes)]
    between = []
    if usual[0] and axes:
        pairs = zip(_between(spec.name), BETWEEN if usual[1] else cycle(rows), strict=False)
        between = [Case(spec.fitted(dict.fromkeys(axes, n)), batch) for n, batch in pairs]
    cases = [Case(spec.fitted(lengths), batch) for lengths, batch in sizes]
    if axis := spec.ragged:
        kinds = _kinds(spec, right)
        full = cycle([kind for kind in kinds if kind[1] is not RowLengths.FIRST])
        cases = [ragged(c, axis, *kind) for c, kind in zip(cases, cycle(kinds), strict=False)]
        between = [ragged(c, axis, *kind) for c, kind in zip(between, full, strict=False)]
        every = [(n, b) for n, b in EVERY_RAGGEDNESS if n in lengths]
        every = every or [(n, max(rows)) for n in lengths[:3]]
        cases += [
            ragged(
                Case(spec.fitted(dict.fromkeys(axes, n)), b if usual[1] else max(rows[-1], 1)),
                axis,
                *kind,
            )
            for n, b in every
            for kind in kinds
        ]
    if usual[1]:
        cases, between = ([bounded(spec, case) for case in some] for some in (cases, between))
    distinct = list({case.id: case for case in [*cases, *between]}.values())
    draws = -(-ENOUGH // max(len(distinct), 1))
    return [replace(case, draw=draw) for draw in range(draws) for case in distinct]


def long_case(spec: ModelSpec, batches: Sequence[int]) -> Case | None:
    """Return one case that is longer than all others; None where no axis is a sequence."""
    axes = free_axes(spec)
    if not axes:
        return None
    many = any(BATCH in tensor.axes for tensor in spec.inputs)
    batch = (LONG[1] if spec.ragged else 1) if tuple(batches) == BATCHES else batches[0]
    longest = spec.ragged if spec.ragged in axes else axes[0]
    lengths = spec.fitted({**dict.fromkeys(axes, 32), str(longest): LONG[0]})
    case = Case(lengths, batch if many else 1)
    return ragged(case, spec.ragged, Raggedness.RIGHT, RowLengths.MIXED) if spec.ragged else case


def sequence_axes(spec: ModelSpec) -> list[str]:
    """Return the sequence axes of the inputs, and those that an input is the length of."""
    named = [axis for tensor in spec.inputs for axis in tensor.axes if axis in spec.axes]
    return [str(axis) for axis in dict.fromkeys([*named, *spec.lengths.values()])]


def free_axes(spec: ModelSpec) -> list[str]:
    """Return the sequence axes whose lengths follow from no others."""
    bound = {axis for axis, rule in spec.rules.items() if rule.terms}
    return [axis for axis in sequence_axes(spec) if axis not in bound]


def bounded(spec: ModelSpec, case: Case) -> Case:
    """Return the case with as few rows as its outputs need to have at most ``OUTPUT_VALUES``.

    A batch of ``BATCHES`` stays as it is, and padding what it is.
    """
    most = OUTPUT_VALUES // max(output_values(spec, replace(case, batch=1)), 1)
    return replace(case, batch=min(case.batch, max(most, *BATCHES)))


def output_values(spec: ModelSpec, case: Case) -> int:
    """Return how many values the outputs have whose axes are the inputs'."""
    known = [t for t in spec.outputs if all(a in (BATCH, *case.lengths) for a in _named(t))]
    return sum(prod(tensor.shape(case.batch, case.lengths)) for tensor in known)


def _named(tensor: TensorSpec) -> list[str]:
    return [axis for axis in tensor.axes if isinstance(axis, str)]


def milder(case: Case) -> Case | None:
    """Return what is tried where the model refuses a case's padding; None where nothing is left.

    RowLengths come at the end, then sorted, as packed sequences may have to be, then unpadded.
    """
    if case.raggedness is Raggedness.NONE:
        return None
    if case.raggedness is not Raggedness.RIGHT:
        rows = RowLengths.FIRST if case.rows is RowLengths.FIRST else RowLengths.MIXED
        return replace(case, raggedness=Raggedness.RIGHT, rows=rows)
    if case.rows is RowLengths.DESCENDING or case.batch == 1:
        return replace(case, raggedness=Raggedness.NONE, rows=RowLengths.FIRST)
    return replace(case, rows=RowLengths.DESCENDING)


def _kinds(spec: ModelSpec, right: bool) -> list[tuple[Raggedness, RowLengths]]:
    possible_here = AT_THE_END if right else spec.raggedness
    return [kind for kind in KINDS if kind[0] in possible_here and kind[0] in spec.raggedness]


def ragged(case: Case, axis: str, kind: Raggedness, rows: RowLengths) -> Case:
    """Return the case with a raggedness and rows, or with what its sizes can have of them."""
    kind = possible(case.lengths[axis], kind)
    if kind is Raggedness.NONE or case.batch == 1:
        rows = RowLengths.FIRST
    if rows is RowLengths.TWO and case.batch == 2:
        rows = RowLengths.LATE
    return replace(case, raggedness=kind, rows=rows)


def _ends(spec: ModelSpec, axes: Sequence[str]) -> Iterator[dict[str, int]]:
    """Yield both ends of every range that an axis is described with, unless one is too long."""
    for axis in axes:
        for end in spec.rules[axis].bounds if axis in spec.rules else ():
            if end is not None and end <= LONG[0]:
                yield {axis: end}


def _between(name: str) -> Iterator[int]:
    """Yield a length in each gap between two of ``LENGTHS``, the same for the same name."""
    gaps = [(low, high) for low, high in pairwise(LENGTHS) if high - low > 1]
    words = bits(seed_of(name), len(gaps)).tolist()
    for (low, high), word in zip(gaps, words, strict=True):
        yield low + 1 + word % (high - low - 1)


def _sizes(
    axes: Sequence[str], lengths: Sequence[int], batches: Sequence[int], wide: dict[int, int]
) -> Iterator[tuple[dict[str, int], int]]:
    """Yield sizes in which each axis in turn takes every length, the others short ones that change.

    ``wide`` has the batch at some of the lengths. A single step, which has no axis, takes every
    batch.
    """
    rows = cycle(batches)
    for place, axis in enumerate(axes):
        for number, length in enumerate(lengths):
            if place > 0 and number % 2:
                continue
            short = [lengths[(number + 2 + n) % min(len(lengths), 11)] for n in range(8)]
            batch = next(rows)
            yield {**dict(zip(axes, short, strict=False)), axis: length}, wide.get(length, batch)
    if not axes:
        yield from (({}, batch) for batch in batches)
