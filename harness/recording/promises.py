"""What a user model promises where there is padding: as described, and as found by running it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, cast

import numpy as np

from harness.core.errors import UsageError
from harness.core.schema import BATCH, Array, Arrays, Case, ModelSpec, Raggedness, TensorSpec
from harness.core.tolerance import largest_finite
from harness.recording.measured import Measured
from harness.recording.output_axes import Outputs, named, sized
from harness.recording.probing import RefusedError, UserModel, run
from harness.relations import padding
from reference_models.cases import drawn, seed_of

APART = 1e-3
"""The part of an output's scale by which no rounding moves it."""
SAME = 1e-9
LENGTH = 12
"""Promises are tried at lengths near this one."""
PATHS = (
    "PyTorch's fast paths of attention give other values there than its formula, which a graph has:"
    " no promise of the model"
)
ROUNDING = "rounding alone decides what the model gives there: no promise of it"


class StepKind(Enum):
    """A valid step, or a row that has one; a padded step beside valid ones; a row without any."""

    VALID = "valid"
    PADDED = "padded"
    EMPTY = "empty"


@dataclass(frozen=True)
class Promises:
    """A specification with what holds of the model, and why places or cases are left out.

    ``excluded`` are kinds of padding that the model itself gives two answers for.
    """

    spec: ModelSpec
    excluded: Collection[Raggedness] = ()
    why_padded: str = "described as 'valid steps only'"
    lines: Sequence[str] = field(default_factory=list)


def of(own: UserModel, spec: ModelSpec, plan: Sequence[Case]) -> Promises:
    """Return the promises of a model, found at some cases of its plan.

    PyTorch's attention has fast paths; a place where they differ from the formula is no promise.
    Nor is a row without a valid step where rounding decides its values, as under a fill of -1e9
    that leaves nothing of what it is added to.
    """
    lines = []
    if spec.never_empty:
        lines.append("rows without a valid step: described as 'never empty'")
    if spec.ragged is None:
        return Promises(spec, lines=lines)
    excluded: dict[Raggedness, str] = {}
    why_padded = Promises(spec).why_padded
    for case in _typical(plan):
        kind, inputs = case.raggedness, drawn(spec, case, seed_of(f"{spec.name}/{case.id}"))[1]
        differing = _differing(own, spec, inputs)
        if differing[PATHS] & {StepKind.VALID, StepKind.EMPTY}:
            excluded[kind] = PATHS
        elif kind is Raggedness.EMPTY and differing[ROUNDING] == {StepKind.EMPTY}:
            excluded[kind] = ROUNDING
        if StepKind.PADDED in differing[PATHS] and not spec.valid_only:
            why_padded = PATHS
    spec = replace(spec, valid_only=spec.valid_only or why_padded == PATHS)
    if why := excluded.get(Raggedness.EMPTY):
        spec = replace(spec, never_empty=True)
        lines.append(f"rows without a valid step: {why}")
    others = sorted(kind.value for kind in excluded if kind is not Raggedness.EMPTY)
    lines += [f"padding {kind}: {PATHS}" for kind in others]
    return Promises(spec, tuple(excluded), why_padded, lines)


def _differing(own: UserModel, spec: ModelSpec, inputs: Arrays) -> dict[str, set[StepKind]]:
    """Return where two answers of the model differ, by the reason why it has two.

    A way in which it does not run tells nothing.
    """
    steps = [spec.valid_steps(inputs, axis) for axis in spec.ragged_axes]
    empty = np.any([~valid.any(axis=1) for valid in steps if valid is not None], axis=0)
    found: dict[str, set[StepKind]] = {PATHS: set(), ROUNDING: set()}
    ways: dict[str, Any] = {}
    if empty.any():
        ways[ROUNDING] = lambda: run(own, inputs, wide=True)
    if slow := getattr(own, "without_fast_paths", None):
        ways[PATHS] = lambda: slow(inputs)
    for why, way in ways.items():
        try:
            one, other = named(spec, run(own, inputs, wide=False)), named(spec, way())
        except Exception:
            continue
        for tensor in spec.outputs:
            apart = _apart(one[tensor.name], other[tensor.name])
            padded = spec.padded_places(tensor, inputs)
            found[why] |= _places(tensor, apart, padded, empty)
    return found


def left_out(promises: Promises, results: Sequence[Measured]) -> list[str]:
    """Return a line for each output of which padded steps are not compared."""
    lines = []
    for tensor in promises.spec.outputs:
        places = [promises.spec.left_out(tensor, result.inputs) for result in results]
        known = [place for place in places if place is not None]
        if count := sum(int(place.sum()) for place in known):
            every = sum(place.size for place in known)
            lines.append(
                f"{count:,} padded steps of {tensor.name}, of {every:,}: {promises.why_padded}"
            )
    return lines


class OfValidSteps:
    """A user model whose outputs are 0 at padded steps, which mean nothing."""

    def __init__(self, own: Any, spec: ModelSpec) -> None:
        self._own, self._spec = own, spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def run(self, inputs: Arrays, wide: bool) -> Outputs:
        outputs = self._own.run(inputs, wide)
        names = [tensor.name for tensor in self._spec.outputs]
        values = self._kept(inputs, dict(zip(names, (v for _, v in outputs), strict=False)))
        kept = [(own, values[n]) for (own, _), n in zip(outputs, names, strict=False)]
        return [*kept, *outputs[len(kept) :]]

    def measure(self, inputs: Sequence[Arrays]) -> list[list[Arrays]]:
        """Return the outputs of rounded runs, of a model in an ONNX file."""
        runs = self._own.measure(inputs)
        return [[self._kept(i, o) for o in of] for i, of in zip(inputs, runs, strict=True)]

    def _kept(self, inputs: Arrays, outputs: Arrays) -> Arrays:
        kept = dict(outputs)
        for tensor in self._spec.outputs:
            padded = self._spec.left_out(tensor, inputs)
            if padded is not None and tensor.name in kept:
                value = kept[tensor.name]
                kept[tensor.name] = np.where(padded, value.dtype.type(0), value)
        return kept


def kept(own: UserModel, spec: ModelSpec) -> UserModel:
    """Return the model as it is recorded: with what it promises alone."""
    return cast(UserModel, OfValidSteps(own, spec)) if spec.valid_only else own


def unchanged(
    own: UserModel, spec: ModelSpec, results: Sequence[Measured], right: bool
) -> tuple[Raggedness, ...] | None:
    """Return the ways of padding that change nothing at the valid steps of the model in float64.

    With ``right``, padding is at the end alone. None where the relation cannot be tried.
    """
    if padding.inapplicable(replace(spec, unchanged=())):
        return None
    ways = [way for way in padding.WAYS if way in spec.raggedness]
    by_id = {result.case.id: result for result in results}
    cases = [by_id[case.id] for case in _typical([result.case for result in results])][:2]

    def ran(inputs: Arrays, case: Case) -> Arrays:
        outputs = named(spec, run(own, inputs, wide=True))
        sized(spec, case, outputs)
        return outputs

    def holds(way: Raggedness) -> bool:
        try:
            pairs = [
                pair
                for result in cases
                for pair in padding.pairs(spec, result.case, result.inputs, [way], ran)
            ]
        except (RefusedError, UsageError):
            return False
        return bool(pairs) and not any(
            _apart(pair.actual[name], value, SAME).any()
            for pair in pairs
            for name, value in pair.expected.items()
        )

    ends = (Raggedness.RIGHT,) if right else tuple(ways)
    return tuple(way for way in ways if way in ends and holds(way))


def _typical(cases: Sequence[Case]) -> list[Case]:
    """Return a case of each kind of padding, of several rows where there is one."""
    by_kind: dict[Raggedness, Case] = {}
    for case in sorted(cases, key=lambda case: (case.batch < 2, abs(case.longest - LENGTH))):
        if case.raggedness is not Raggedness.NONE:
            by_kind.setdefault(case.raggedness, case)
    return list(by_kind.values())


def _apart(one: Array, other: Array, part: float = APART) -> Array:
    """Return where two values differ by more than a part of the largest one."""
    if one.shape != other.shape or one.dtype.kind != "f":
        return np.asarray(one != other) if one.shape == other.shape else np.ones(one.shape, bool)
    allowed = part * largest_finite(other)
    with np.errstate(invalid="ignore"):
        near = np.asarray(np.abs(one - other) <= allowed)
    return np.asarray(~(near | (one == other) | (np.isnan(one) & np.isnan(other))))


def _places(tensor: TensorSpec, apart: Array, padded: Array | None, empty: Array) -> set[StepKind]:
    """Return in which kinds of places values are ``apart``: ``padded`` ones or ``empty`` rows."""
    if not apart.any():
        return set()
    if BATCH not in tensor.axes:
        return {StepKind.VALID}
    rows = np.moveaxis(apart, tensor.axes.index(BATCH), 0)
    kinds = {StepKind.EMPTY: bool(rows[empty].any()), StepKind.VALID: bool(rows[~empty].any())}
    if padded is not None:
        at_rows = np.moveaxis(np.broadcast_to(padded, apart.shape), tensor.axes.index(BATCH), 0)
        kinds[StepKind.VALID] = bool((rows & ~at_rows)[~empty].any())
        kinds[StepKind.PADDED] = bool((rows & at_rows)[~empty].any())
    return {place for place, differs in kinds.items() if differs}
