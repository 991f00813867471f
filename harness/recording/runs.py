"""A user model at every case: its float64 outputs, and how far rounding moves them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from harness.core.errors import UsageError
from harness.core.schema import Array, Arrays, Case, ModelSpec, Progress, Raggedness, lengths_text
from harness.goldens.noise_floor import DRAWS, drowns, nearby
from harness.recording import copies
from harness.recording.output_axes import named, sized
from harness.recording.probing import RefusedError, UserModel, run
from reference_models.cases import drawn, seed_of

SAME = 1e-10
"""The part of an output's scale by which two float64 runs may differ, in the order of sums."""
MILDER = {
    Raggedness.EMPTY: Raggedness.RIGHT,
    Raggedness.GAPPED: Raggedness.RIGHT,
    Raggedness.LEFT: Raggedness.RIGHT,
    Raggedness.RIGHT: Raggedness.NONE,
}
"""What is tried where the model itself refuses a raggedness."""
Refused = defaultdict[str, list[str]]
"""Cases that cannot be judged, as texts, by the reason."""


@dataclass(frozen=True)
class Measured:
    """A case with its float64 outputs, and for each the largest error of float32 runs.

    ``meaningless`` is why a comparison would mean nothing; empty where it means something.
    """

    case: Case
    formulas: Mapping[str, Any]
    inputs: Arrays
    outputs: Arrays
    noise: Mapping[str, float]
    meaningless: str = ""


def measure(
    model: UserModel, spec: ModelSpec, plan: Sequence[Case], progress: Progress
) -> tuple[list[Measured], list[str]]:
    """Return every case of ``plan`` that can be judged, and a line for each reason why others not.

    UsageError where none can, or the model gives other outputs each time.
    """
    refused: Refused = defaultdict(list)
    results = _float64(model, spec, plan, refused, progress)
    if results:
        largest = max(results, key=lambda m: m.case.longest * m.case.batch)
        for repeated in (results[0], largest):
            _check_deterministic(model, spec, repeated)
        results = _with_noise(model, spec, results, refused, progress)
    judged = []
    for result in results:
        if reason := result.meaningless or _meaningless(result):
            refused[reason].append(_text(result.case))
        else:
            judged.append(result)
    if not judged:
        reason, sizes = next(iter(refused.items()))
        raise UsageError(
            f"the model itself can be judged at none of the sizes; {sizes[0]}: {reason}"
        )
    return judged, [
        f"{sizes[0]}{f' and {len(sizes) - 1} more' if len(sizes) > 1 else ''}: {reason}"
        for reason, sizes in refused.items()
    ]


def _float64(
    model: UserModel,
    spec: ModelSpec,
    plan: Sequence[Case],
    refused: Refused,
    progress: Progress,
) -> list[Measured]:
    """Return the cases that the model runs in float64, in a milder raggedness where it must be."""
    results = []
    todo, tried = deque(plan), {case.id for case in plan}
    while todo:
        case = todo.popleft()
        progress(f"{spec.name}: float64, {len(todo)} cases left")
        formulas, inputs = drawn(spec, case, seed_of(f"{spec.name}/{case.id}"))
        try:
            outputs = named(spec, run(model, inputs, wide=True))
        except RefusedError as error:
            refused[f"{error} (in float64)"].append(_text(case))
            milder = replace(case, raggedness=MILDER.get(case.raggedness, case.raggedness))
            if milder.id not in tried:
                tried.add(milder.id)
                todo.append(milder)
            continue
        results.append(Measured(sized(spec, case, outputs), formulas, inputs, outputs, {}))
    return results


def _with_noise(
    model: UserModel,
    spec: ModelSpec,
    results: list[Measured],
    refused: Refused,
    progress: Progress,
) -> list[Measured]:
    """Return the cases with their noise: the largest float32 errors of ``DRAWS`` runs.

    Between the runs the weights are moved by ``nearby``.
    """
    if hasattr(model, "measure"):
        progress(f"{spec.name}: float32")
        noises = [noise for _, noise in model.measure([result.inputs for result in results])]
        return [replace(result, noise=n) for result, n in zip(results, noises, strict=True)]
    try:
        for draw in range(DRAWS):
            model.move(partial(nearby, draw=draw))
            before, results = results, []
            for result in before:
                try:
                    results.append(_noisier(model, spec, result, draw))
                except RefusedError as error:
                    refused[str(error)].append(_text(result.case))
            progress(f"{spec.name}: float32, run {draw + 1}/{DRAWS}")
    finally:
        model.move(lambda values: values)
    return results


def _noisier(model: UserModel, spec: ModelSpec, result: Measured, draw: int) -> Measured:
    """Return the case with the error of a float32 run, against float64 with the same weights."""
    exact = result.outputs if draw == 0 else named(spec, run(model, result.inputs, wide=True))
    noise, meaningless = dict(result.noise), result.meaningless
    rounded = named(spec, run(model, result.inputs, wide=False))
    if draw == 0:
        copies.check(model, spec, result.inputs, exact, rounded)
    for name, value in rounded.items():
        if value.shape != exact[name].shape or not _alike(value, exact[name]):
            meaningless = f"rounding alone changes {name}; a comparison would mean nothing"
        else:
            noise[name] = max(noise.get(name, 0.0), _error(value, exact[name]))
    return replace(result, noise=noise, meaningless=meaningless)


def _alike(actual: Array, exact: Array) -> bool:
    """Return whether the integers, or the places that are not finite, are the same."""
    if exact.dtype.kind != "f":
        return np.array_equal(actual, exact)
    not_finite = ~np.isfinite(exact)
    return np.array_equal(not_finite, ~np.isfinite(actual)) and np.array_equal(
        actual[not_finite], exact[not_finite], equal_nan=True
    )


def _error(actual: Array, exact: Array) -> float:
    """Return the largest absolute error of the finite values; 0 for other than floats."""
    if exact.dtype.kind != "f":
        return 0.0
    finite = np.isfinite(exact)
    return float(np.abs(actual[finite].astype(np.float64) - exact[finite]).max(initial=0.0))


def _check_deterministic(model: UserModel, spec: ModelSpec, result: Measured) -> None:
    """Raise UsageError where a case gives other outputs after other cases, or after itself."""
    runs = [named(spec, run(model, result.inputs, wide=True)) for _ in range(2)]
    for outputs, (name, value) in product(runs, result.outputs.items()):
        again = outputs[name]
        same = value.shape == again.shape and _alike(again, value)
        if not same or _error(again, value) > SAME * _scale(value):
            raise UsageError(
                f"{model.class_name} gives another {name!r} for the same inputs: it draws random"
                " numbers or keeps a state between calls; make the state an input and an output"
            )


def _meaningless(result: Measured) -> str:
    """Return why a comparison of this case would mean nothing; empty where it means something."""
    for name, value in result.outputs.items():
        if value.dtype.kind == "f" and value.size and not np.isfinite(value).any():
            return f"{name} is finite nowhere; there is nothing to compare"
        if reason := _coarse_fill(name, value):
            return reason
        scale, noise = _scale(value), result.noise[name]
        if value.dtype.kind == "f" and drowns(noise, scale):
            return (
                f"rounding alone moves {name} by {noise:.1g} of {scale:.1g}; a comparison would"
                " mean nothing"
            )
    return ""


def _coarse_fill(name: str, value: Array) -> str:
    """Return why the rounding of a fill hides all other values; empty where it does not.

    A fill is the largest value where it occurs more than once and is a million times as large as
    the others. One that float32 holds exactly, such as -1e9, hides nothing.
    """
    finite = np.abs(value[np.isfinite(value)]) if value.dtype.kind == "f" else value[:0]
    largest = _scale(value)
    others = finite[finite != largest]
    fills = finite.size - others.size > 1 and others.size and others.max() < 1e-6 * largest
    if not fills or float(np.float32(largest)) == largest:
        return ""
    return (
        f"{name} is filled with values of {largest:.3g}, which float32 rounds by more than the"
        " others are; fill with one that it holds, such as -1e9"
    )


def _scale(value: Array) -> float:
    """Return the largest finite absolute value; 0 for other than floats."""
    finite = value[np.isfinite(value)] if value.dtype.kind == "f" else value[:0]
    return float(np.abs(finite).max(initial=0.0))


def _text(case: Case) -> str:
    padding = "" if case.raggedness is Raggedness.NONE else f", padding {case.raggedness.value}"
    return f"{lengths_text(case.lengths)}, batch={case.batch}{padding}"
