"""``padding``: padding a row changes nothing at its valid steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness.core.axis_rules import AxisRule
from harness.core.schema import BATCH, Array, Arrays, Case, GoldenCase, ModelSpec, Raggedness
from harness.relations.context import Check, Context, Pair, taken

MORE = 3
"""The longest row gets a step in four of padding and this many more."""
SEED = 7
WAYS = (Raggedness.RIGHT, Raggedness.LEFT, Raggedness.GAPPED)


def relation(context: Context) -> Check | str:
    """Apply where padding is told of and, in its framework, the model itself is not changed by it.

    Every row of a case is run alone without its padding, then all of them at once, padded to one
    length: in each way that leaves the model as it was. A golden that does not say so stands for
    the right, and for the left and gaps where it has such rows. Outputs along the padded axis are
    compared at the valid steps, in their order, all others whole.
    """
    spec = context.spec
    if reason := inapplicable(spec):
        return reason
    told = spec.unchanged
    if told is None:
        told = tuple(w for w in WAYS if w is Raggedness.RIGHT or w in context.raggedness)
    ways = [way for way in WAYS if way in told]
    if not ways:
        return "the model itself gives other values at valid steps where there is padding"

    def check(golden: GoldenCase) -> Iterator[Pair]:
        return pairs(spec, golden.case, golden.inputs, ways, context.run)

    return check


def inapplicable(spec: ModelSpec) -> str:
    """Return why the relation can be tried with no model like this; empty where it can."""
    if spec.ragged is None:
        return "no input is described with padding, as a mask or as lengths of rows"
    if not spec.paddings and spec.unchanged is None:
        return "no input is described with padding"
    if bound := [axis for axis, rule in spec.rules.items() if rule != AxisRule(most=rule.most)]:
        return f"the length of {bound[0]} is not free"
    axes = {*spec.ragged_axes}
    lengths = [name for name, of in spec.lengths.items() if of in axes]
    for tensor in spec.inputs:
        if tensor.name in lengths and (BATCH not in tensor.axes or spec.unchanged is None):
            return f"input {tensor.name} is the length"
        if axes & {*tensor.axes} and BATCH not in tensor.axes:
            return f"input {tensor.name} is one for all rows"
    own = {axis for tensor in spec.inputs for axis in tensor.axes} | {*spec.lengths.values()}
    for tensor in spec.outputs:
        if BATCH not in tensor.axes:
            return f"output {tensor.name} has no batch"
        if derived := [a for a in tensor.axes if isinstance(a, str) and a not in own]:
            return f"output {tensor.name} has an axis {derived[0]}, which is no input's"
    return ""


def pairs(
    spec: ModelSpec,
    case: Case,
    inputs: Arrays,
    ways: Sequence[Raggedness],
    run: Callable[[Arrays, Case], Arrays],
) -> Iterator[Pair]:
    """Yield each row alone beside itself in a batch that is padded, for each axis and way."""
    for axis in spec.ragged_axes:
        yield from _along(spec, axis, case, inputs, ways, run)


def _along(
    spec: ModelSpec,
    axis: str,
    case: Case,
    inputs: Arrays,
    ways: Sequence[Raggedness],
    run: Callable[[Arrays, Case], Arrays],
) -> Iterator[Pair]:
    valid = spec.valid_steps(inputs, axis)
    along = f" along {axis}" if axis != spec.ragged else ""
    places = [] if valid is None else [np.flatnonzero(steps) for steps in valid]
    rows = {number: place for number, place in enumerate(places) if len(place)}
    compact: dict[int, Arrays] = {}
    alone: dict[int, Arrays] = {}
    for number, place in rows.items():
        row = taken(spec.inputs, inputs, BATCH, [number])
        compact[number] = taken(spec.inputs, row, axis, place)
        lengths = {**case.lengths, axis: len(place)}
        alone[number] = run(compact[number], replace(case, batch=1, lengths=lengths))
    if not rows:
        return
    longest = max(len(place) for place in rows.values())
    width = longest + longest // 4 + MORE
    most = spec.rules[axis].most if axis in spec.rules else None
    width = width if most is None else min(width, most)
    case = replace(case, batch=len(rows), lengths={**case.lengths, axis: width})
    for way in ways:
        spread = {number: _places(way, len(place), width) for number, place in rows.items()}
        padded = run(_padded(spec, compact, axis, spread, width), case)
        for position, number in enumerate(rows):
            outputs = taken(spec.outputs, padded, BATCH, [position])
            outputs = taken(spec.outputs, outputs, axis, spread[number])
            yield Pair(
                f"row {number} padded {way.value}{along}", alone[number], outputs, whole=True
            )


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
    """Return the rows as one batch, each at its places of ``width`` steps with padding between.

    An input beside the padded one goes on with values of its own, which are in its range.
    """
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
                part = value.take(np.arange(width) % value.shape[step], axis=step)
                np.moveaxis(part, step, 0)[places[number]] = np.moveaxis(value, step, 0)
                value = part
            parts.append(value)
        batch[tensor.name] = np.concatenate(parts, axis=tensor.axes.index(BATCH))
    valid = np.stack([np.isin(np.arange(width), places[number]) for number in rows])
    return spec.padded_outside(batch, valid, axis)
