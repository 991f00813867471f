"""A model of one's own at every case: its float64 outputs, and how far rounding moves them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from harness.core.errors import UsageError
from harness.core.schema import Array, Arrays, Case, ModelSpec, Progress, Raggedness, lengths_text
from harness.core.tolerance import one_ulp
from harness.goldens.noise_floor import DRAWS, MEANINGFUL, nearby
from harness.recording.output_axes import named, sized
from harness.recording.probing import RefusedError, UserModel, drawn, run

SAME = 1e-10
"""Of an output's scale: what two float64 runs may differ by, whose sums are ordered otherwise."""
MILDER = {
    Raggedness.EMPTY: Raggedness.RIGHT,
    Raggedness.GAPPED: Raggedness.RIGHT,
    Raggedness.LEFT: Raggedness.RIGHT,
    Raggedness.RIGHT: Raggedness.NONE,
}
"""What is tried where the model itself refuses a raggedness."""


@dataclass(frozen=True)
class Measured:
    """A case with its float64 outputs, and for each the largest error of float32 runs.

    ``meaningless`` says why comparing it would tell nothing; empty where it would.
    """

    case: Case
    formulas: Mapping[str, Any]
    inputs: Arrays
    outputs: Arrays
    noise: Mapping[str, float]
    meaningless: str = ""


def measure(
    own: UserModel, spec: ModelSpec, plan: Sequence[Case], progress: Progress
) -> tuple[list[Measured], list[str]]:
    """Every case of ``plan`` that the model runs; and in a line each what cannot be judged.

    UsageError where the model runs none of them, or gives other outputs each time.
    """
    refused: dict[str, list[str]] = {}
    found = _float64(own, spec, plan, refused, progress)
    if found:
        _deterministic(own, spec, found[0])
        _deterministic(own, spec, max(found, key=lambda one: one.case.longest * one.case.batch))
        found = _with_noise(own, spec, found, refused, progress)
    kept = []
    for one in found:
        if told := one.meaningless or _meaningless(one):
            refused.setdefault(told, []).append(_told(one.case))
        else:
            kept.append(one)
    if not kept:
        reason, sizes = next(iter(refused.items()))
        raise UsageError(
            f"the model itself can be judged at none of the sizes; {sizes[0]}: {reason}"
        )
    return kept, [
        f"{sizes[0]}{f' and {len(sizes) - 1} more' if len(sizes) > 1 else ''}: {reason}"
        for reason, sizes in refused.items()
    ]


def _float64(
    own: UserModel,
    spec: ModelSpec,
    plan: Sequence[Case],
    refused: dict[str, list[str]],
    progress: Progress,
) -> list[Measured]:
    found = []
    todo, tried = deque(plan), {case.id for case in plan}
    while todo:
        case = todo.popleft()
        progress(f"{spec.name}: float64, {len(todo)} cases left")
        seed = int.from_bytes(hashlib.sha256(f"{spec.name}/{case.id}".encode()).digest()[:4])
        formulas, inputs = drawn(spec, case, seed)
        try:
            outputs = named(spec, run(own, inputs, wide=True))
        except RefusedError as error:
            refused.setdefault(f"{error} (in float64)", []).append(_told(case))
            milder = replace(case, raggedness=MILDER.get(case.raggedness, case.raggedness))
            if milder.id not in tried:
                tried.add(milder.id)
                todo.append(milder)
            continue
        found.append(Measured(sized(spec, case, outputs), formulas, inputs, outputs, {}))
    return found


def _with_noise(
    own: UserModel,
    spec: ModelSpec,
    found: list[Measured],
    refused: dict[str, list[str]],
    progress: Progress,
) -> list[Measured]:
    """The same with the largest float32 error of several runs, as ``recording`` has it."""
    if hasattr(own, "measure"):
        progress(f"{spec.name}: float32")
        measured = own.measure([one.inputs for one in found])
        return [replace(one, noise=n) for one, (_, n) in zip(found, measured, strict=True)]
    move = getattr(own, "move")  # noqa: B009
    ran: list[Measured] = []
    try:
        for draw in range(DRAWS):
            move(lambda values, draw=draw: nearby(values, draw))
            before, ran = (found if draw == 0 else ran), []
            for one in before:
                try:
                    ran.append(_noisier(own, spec, one, draw))
                except RefusedError as error:
                    refused.setdefault(str(error), []).append(_told(one.case))
            progress(f"{spec.name}: float32, run {draw + 1}/{DRAWS}")
    finally:
        move(lambda values: values)
    return ran


def _noisier(own: UserModel, spec: ModelSpec, one: Measured, draw: int) -> Measured:
    """``one`` with the error of a float32 run, against a float64 run of the same weights."""
    exact = one.outputs if draw == 0 else named(spec, run(own, one.inputs, wide=True))
    noise, meaningless = dict(one.noise), one.meaningless
    for name, value in named(spec, run(own, one.inputs, wide=False)).items():
        if value.shape != exact[name].shape or not _alike(value, exact[name]):
            meaningless = f"rounding alone changes {name}; a comparison would mean nothing"
        else:
            noise[name] = max(noise.get(name, 0.0), _error(value, exact[name]))
    return replace(one, noise=noise, meaningless=meaningless)


def _alike(actual: Array, exact: Array) -> bool:
    """Whether what rounding must not change is the same: integers, places that are not finite."""
    if exact.dtype.kind != "f":
        return np.array_equal(actual, exact)
    odd = ~np.isfinite(exact)
    return np.array_equal(odd, ~np.isfinite(actual)) and np.array_equal(
        actual[odd], exact[odd], equal_nan=True
    )


def _error(actual: Array, exact: Array) -> float:
    """The largest absolute error of the finite values; 0 for what is not floating point."""
    if exact.dtype.kind != "f":
        return 0.0
    finite = np.isfinite(exact)
    return float(np.abs(actual[finite].astype(np.float64) - exact[finite]).max(initial=0.0))


def _deterministic(own: UserModel, spec: ModelSpec, first: Measured) -> None:
    """UsageError where the first case gives other outputs now that others ran in between, or
    straight after itself.
    """
    runs = [named(spec, run(own, first.inputs, wide=True)) for _ in range(2)]
    for again, (name, value) in product(runs, first.outputs.items()):
        other = again[name]
        same = value.shape == other.shape and _alike(other, value)
        if not same or _error(other, value) > SAME * _scale(value):
            raise UsageError(
                f"{own.class_name} gives another {name!r} for the same inputs: it draws random"
                " numbers or keeps a state between calls; make the state an input and an output"
            )


def _meaningless(one: Measured) -> str:
    """Why a comparison of this case would mean nothing; empty where it means something."""
    for name, value in one.outputs.items():
        if value.dtype.kind == "f" and value.size and not np.isfinite(value).any():
            return f"{name} is finite nowhere; there is nothing to compare"
        if told := _coarse_fill(name, value):
            return told
        scale, noise = _scale(value), one.noise[name]
        if value.dtype.kind == "f" and not noise <= MEANINGFUL * max(scale, one_ulp(scale)):
            return (
                f"rounding alone moves {name} by {noise:.1g} of {scale:.1g}; a comparison would"
                " mean nothing"
            )
    return ""


def _coarse_fill(name: str, value: Array) -> str:
    """Why rounding of a fill hides all else in ``value``; empty where it does not.

    A fill is the largest value where it stands more than once, a million times as large as the
    others; one that float32 holds, as -1e9, is no trouble.
    """
    finite = np.abs(value[np.isfinite(value)]) if value.dtype.kind == "f" else value[:0]
    largest = float(finite.max(initial=0.0))
    others = finite[finite != largest]
    fills = finite.size - others.size > 1 and others.size and others.max() < 1e-6 * largest
    if not fills or float(np.float32(largest)) == largest:
        return ""
    return (
        f"{name} is filled with values of {largest:.3g}, which float32 rounds by more than the"
        " others are; fill with one that it holds, such as -1e9"
    )


def _scale(value: Array) -> float:
    return (
        float(np.abs(value[np.isfinite(value)]).max(initial=0.0))
        if value.dtype.kind == "f"
        else 0.0
    )


def _told(case: Case) -> str:
    padding = "" if case.raggedness is Raggedness.NONE else f", padding {case.raggedness.value}"
    return f"{lengths_text(case.lengths)}, batch={case.batch}{padding}"
