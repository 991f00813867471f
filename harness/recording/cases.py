"""The cases that a user model is recorded at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle

from harness.core.schema import AT_THE_END, BATCH, Case, ModelSpec
from harness.goldens.noise_floor import ENOUGH
from reference_models.cases import CROWDED, EVERY_RAGGEDNESS, SQUARE, possible

LENGTHS = (
    *(1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 200),
    *(255, 256, 257),
)
BATCHES = (1, 3, 2)


def plan(
    spec: ModelSpec, lengths: Sequence[int], batches: Sequence[int], right: bool = False
) -> list[Case]:
    """Return every length of every axis, the others changing, at every raggedness.

    With ``right``, padding is only at the end of a row. With the default ``LENGTHS`` and
    ``BATCHES`` there are cases whose batch is the length, with the default ``BATCHES`` one batch is
    larger than any example's. Where there are fewer than ``ENOUGH`` cases, each is drawn more than
    once.
    """
    single = not any(BATCH in tensor.axes for tensor in spec.inputs)
    named = [axis for tensor in spec.inputs for axis in tensor.axes if axis in spec.axes]
    axes = [str(axis) for axis in dict.fromkeys([*named, *spec.lengths.values()])]
    rows = (1,) if single else batches
    sizes = list(_sizes(axes, lengths, rows))
    if axes and len(lengths) < len(rows):
        sizes += [(dict.fromkeys(axes, length), batch) for length in lengths for batch in rows]
    if not single and axes and tuple(batches) == BATCHES:
        crowded = [*CROWDED, *((n, n) for n in SQUARE)]
        if tuple(lengths) != LENGTHS:
            crowded = [(lengths[len(lengths) // 2], CROWDED[0][1])]
        sizes += [(dict.fromkeys(axes, length), batch) for length, batch in crowded]
    cases = [Case(lengths, batch) for lengths, batch in sizes]
    axis = spec.ragged
    if axis is not None:
        kinds = [kind for kind in spec.raggedness if not right or kind in AT_THE_END]
        cases = [
            Case(case.lengths, case.batch, possible(case.lengths[axis], kind))
            for case, kind in zip(cases, cycle(kinds), strict=False)
        ]
        cases += [
            Case(dict.fromkeys(axes, n), max(batches[-1], 1), possible(n, kind))
            for n in [n for n in EVERY_RAGGEDNESS if n in lengths] or lengths[:3]
            for kind in kinds
        ]
    distinct = list({case.id: case for case in cases}.values())
    draws = -(-ENOUGH // max(len(distinct), 1))
    return [replace(case, draw=draw) for draw in range(draws) for case in distinct]


def _sizes(
    axes: Sequence[str], lengths: Sequence[int], batches: Sequence[int]
) -> Iterator[tuple[dict[str, int], int]]:
    """Yield sizes in which each axis in turn takes every length, the others short ones that change.

    A single step, which has no axis, takes every batch.
    """
    rows = cycle(batches)
    for place, axis in enumerate(axes):
        for number, length in enumerate(lengths):
            if place > 0 and number % 2:
                continue
            short = [lengths[(number + 2 + n) % min(len(lengths), 11)] for n in range(8)]
            yield {**dict(zip(axes, short, strict=False)), axis: length}, next(rows)
    if not axes:
        yield from (({}, batch) for batch in batches)
