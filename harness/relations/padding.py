"""``padding``: padding a row changes nothing at its valid steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from harness.core.schema import BATCH, Array, Arrays, GoldenCase, ModelSpec, Raggedness
from harness.relations.context import Check, Context, Pair, taken

MORE = 3
"""The longest row gets a step in four of padding and this many more."""
SEED = 7
WAYS = (Raggedness.RIGHT, Raggedness.LEFT, Raggedness.GAPPED)


def relation(context: Context) -> Check | None:
    """Apply to a model with a padded input whose length is no input.

    Every row of a case is run alone without its padding, then all of them at once, padded to one
    length: on the right, and on the left or with gaps where the model is recorded so. Outputs along
    the padded axis are compared at the valid steps, in their order, all others whole.
    """
    spec, axis = context.spec, context.spec.ragged
    if spec.padded is None or axis is None or axis in spec.lengths.values():
        return None
    if any(BATCH not in t.axes for t in spec.outputs):
        return None
    ways = [w for w in WAYS if w is Raggedness.RIGHT or w in context.raggedness]

    def check(golden: GoldenCase) -> Iterator[Pair]:
        valid = spec.valid_steps(golden.inputs)
        places = [] if valid is None else [np.flatnonzero(steps) for steps in valid]
        rows = {number: place for number, place in enumerate(places) if len(place)}
        compact: dict[int, Arrays] = {}
        alone: dict[int, Arrays] = {}
        for number, place in rows.items():
            inputs = taken(spec.inputs, golden.inputs, BATCH, [number])
            compact[number] = taken(spec.inputs, inputs, axis, place)
            lengths = {**golden.case.lengths, axis: len(place)}
            case = replace(golden.case, batch=1, lengths=lengths)
            alone[number] = context.run(compact[number], case)
        if not rows:
            return
        longest = max(len(place) for place in rows.values())
        width = longest + longest // 4 + MORE
        case = replace(golden.case, batch=len(rows), lengths={**golden.case.lengths, axis: width})
        for way in ways:
            spread = {number: _places(way, len(place), width) for number, place in rows.items()}
            padded = context.run(_padded(spec, compact, axis, spread, width), case)
            for position, number in enumerate(rows):
                outputs = taken(spec.outputs, padded, BATCH, [position])
                outputs = taken(spec.outputs, outputs, axis, spread[number])
                yield Pair(f"row {number} padded {way.value}", alone[number], outputs)

    return check


def _places(way: Raggedness, count: int, width: int) -> Array:
    """Return which of ``width`` steps hold a row's ``count`` valid ones."""
    if way is Raggedness.GAPPED:
        drawn = np.random.default_rng((SEED, count, width)).permutation(width)[:count]
        return np.asarray(np.sort(drawn))
    first = width - count if way is Raggedness.LEFT else 0
    return np.arange(first, first + count)


def _padded(
    spec: ModelSpec,
    rows: dict[int, Arrays],
    axis: str,
    places: dict[int, Array],
    width: int,
) -> Arrays:
    """Return the rows as one batch, each at its places of ``width`` steps with padding between."""
    batch: Arrays = {}
    for tensor in spec.inputs:
        if BATCH not in tensor.axes:
            batch[tensor.name] = next(iter(rows.values()))[tensor.name]
            continue
        parts = []
        for number, inputs in rows.items():
            value = inputs[tensor.name]
            if axis in tensor.axes:
                step = tensor.axes.index(axis)
                shape = (*value.shape[:step], width, *value.shape[step + 1 :])
                part = np.zeros(shape, value.dtype)
                np.moveaxis(part, step, 0)[places[number]] = np.moveaxis(value, step, 0)
                value = part
            parts.append(value)
        batch[tensor.name] = np.concatenate(parts, axis=tensor.axes.index(BATCH))
    valid = np.stack([np.isin(np.arange(width), places[number]) for number in rows])
    return spec.padded_outside(batch, valid)
