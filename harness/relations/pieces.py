"""``pieces``: a sequence in pieces, each going on from the state before, equals the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness.core.axis_rules import AxisRule
from harness.core.schema import BATCH, Array, Arrays, GoldenCase, ModelSpec
from harness.relations.context import Check, Context, Pair, joined, taken

SEED = 11
SINGLE_STEPS = 128
"""Up to this length a sequence is cut into single steps, too."""
RANDOM_CUTS, RANDOM_PIECES = 2, 5


def relation(context: Context) -> Check | str:
    """Apply to a model with states, one sequence axis, and no input that is its length.

    An axis of a state may grow by the steps, as keys and values of the past do. Outputs along the
    axis are joined, all others are the last piece's. Padded steps are left out: what a step repeats
    may lie in the piece before it. Every piece follows the axis' rule.
    """
    spec = context.spec
    if not spec.states:
        return "no input is described as a state that an output goes on from"
    grows = _growing(spec)
    axes = [axis for axis in spec.axes if axis not in {*grows, *grows.values()}]
    if len(axes) != 1 or spec.lengths:
        return "it needs one sequence axis, of which no input is the length"
    (axis,) = axes
    rule = spec.rules.get(axis, AxisRule())
    sums = {after: AxisRule(terms={before: 1, axis: 1}) for before, after in grows.items()}
    if any(spec.rules.get(after) != of for after, of in sums.items()):
        return "an axis of a state grows otherwise than by the steps"
    if odd := [a for a, of in spec.rules.items() if of.terms and a not in sums]:
        return f"the length of {odd[0]} follows from others"
    if any(len({*t.axes}) < len(t.axes) for t in spec.inputs):
        return "its length is that of two axes of an input"

    def check(golden: GoldenCase) -> Iterator[Pair]:
        steps = golden.case.lengths[axis]
        before = [golden.case.lengths[state] + steps for state in grows]
        beyond = any(_beyond(spec, *pair) for pair in zip(grows, before, strict=True))
        if steps < 2 * rule.multiple or beyond:
            return
        valid = spec.valid_steps(golden.inputs)
        whole = _valid_only(spec, context.run(golden.inputs, golden.case), axis, valid)
        for how, sizes in allowed(rule, steps).items():
            pieces = _in_pieces(context, golden, axis, sizes)
            yield Pair(how, whole, _valid_only(spec, pieces, axis, valid))

    return check


def allowed(rule: AxisRule, steps: int) -> dict[str, tuple[int, ...]]:
    """Return the ways to cut ``steps`` whose pieces all follow a rule."""
    unit = rule.multiple
    ways = {
        f"{how} in units of {unit}" if unit > 1 else how: tuple(unit * size for size in sizes)
        for how, sizes in cuts(steps // unit).items()
    }
    return {how: sizes for how, sizes in ways.items() if all(map(rule.holds, sizes))}


def _growing(spec: ModelSpec) -> dict[str, str]:
    """Return the axes of states that the states after have another one for, which is that."""
    inputs = {tensor.name: tensor for tensor in spec.inputs}
    pairs = [(inputs[name].axes, spec.output(after).axes) for name, after in spec.states.items()]
    axes = [pair for before, after in pairs for pair in zip(before, after, strict=False)]
    return {str(a): str(b) for a, b in axes if a != b}


def _beyond(spec: ModelSpec, axis: str, length: int) -> bool:
    """Return whether an axis would be longer than its rule allows."""
    most = spec.rules[axis].most if axis in spec.rules else None
    return most is not None and length > most


def cuts(steps: int) -> dict[str, tuple[int, ...]]:
    """Return distinct ways to cut ``steps`` (at least 2): the pieces' sizes, by a description."""
    ways: dict[str, tuple[int, ...]] = {
        "first step alone": (1, steps - 1),
        "last step alone": (steps - 1, 1),
        "halves": (steps // 2, steps - steps // 2),
    }
    if steps <= SINGLE_STEPS:
        ways["single steps"] = (1,) * steps
    rng = np.random.default_rng((SEED, steps))
    for _ in range(RANDOM_CUTS):
        inside = rng.permutation(steps - 1)[: RANDOM_PIECES - 1] + 1
        edges = [0, *sorted(inside.tolist()), steps]
        sizes = tuple(int(size) for size in np.diff(edges))
        ways[f"pieces of {', '.join(map(str, sizes))}"] = sizes
    first = {sizes: how for how, sizes in reversed(ways.items())}
    return {how: sizes for how, sizes in ways.items() if first[sizes] == how}


def _in_pieces(context: Context, golden: GoldenCase, axis: str, sizes: Sequence[int]) -> Arrays:
    spec, start = context.spec, 0
    inputs = dict(golden.inputs)
    parts: list[Arrays] = []
    grows = _growing(spec)
    for size in sizes:
        piece = taken(spec.inputs, inputs, axis, np.arange(start, start + size))
        past = {state: golden.case.lengths[state] + start for state in grows}
        lengths = spec.fitted({**golden.case.lengths, axis: size, **past})
        parts.append(context.run(piece, replace(golden.case, lengths=lengths)))
        inputs.update({into: parts[-1][out] for into, out in spec.states.items()})
        start += size
    return joined(spec.outputs, parts, axis)


def _valid_only(spec: ModelSpec, outputs: Arrays, axis: str, valid: Array | None) -> Arrays:
    """Return the outputs with zero at padded steps; ``valid`` is [batch, steps] bool."""
    masked = dict(outputs)
    for tensor in spec.outputs:
        if valid is not None and {axis, BATCH} <= {*tensor.axes}:
            value = masked[tensor.name] = outputs[tensor.name].copy()
            at = tensor.axes.index(BATCH), tensor.axes.index(axis)
            np.moveaxis(value, at, (0, 1))[~valid] = 0
    return masked
