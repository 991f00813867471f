"""A user model at every case: its float64 outputs, and how far rounding moves them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from harness.core.bands import Bands, drowned, measured, merged, scale_of_most
from harness.core.errors import UsageError
from harness.core.projection import Projection, projected
from harness.core.schema import Array, Arrays, Case, ModelSpec, Progress, Raggedness, lengths_text
from harness.goldens.noise_floor import JITTERED, drowns, jittered
from harness.recording import copies
from harness.recording.cases import milder
from harness.recording.output_axes import named, sized
from harness.recording.probing import RefusedError, UserModel, run
from harness.recording.values import Feed, Values

COMPLETE_BYTES = 1 << 16
"""The largest outputs of a case of which a golden holds every step."""
ONNX = "onnx"
"""The framework of a model that is a graph, which gives its rounded runs itself."""
SAME = 1e-10
"""The part of an output's scale by which two float64 runs may differ, in the order of sums."""
Refused = defaultdict[str, list[str]]
"""Cases that cannot be judged, as texts, by the reason."""
More = Callable[[list["Measured"], Values, Refused], Iterable[Feed]]
"""What gives further cases after the first ones ran in float64."""


@dataclass
class Measured:
    """A case with its float64 outputs, and how far float32 runs are from them.

    ``bands`` has each output's errors by magnitude, ``projections`` the sums of an output with
    more values than a golden holds, ``meaningless`` why a comparison would mean nothing; it is
    empty where one means something.
    """

    case: Case
    formulas: Mapping[str, Any]
    inputs: Arrays
    outputs: Arrays
    bands: dict[str, Bands] = field(default_factory=dict)
    projections: dict[str, Projection] = field(default_factory=dict)
    meaningless: str = ""

    @property
    def noise(self) -> dict[str, float]:
        """The largest float32 error of each output; 0 for other than floats."""
        largest = {n: [e for _, e in bands.values()] for n, bands in self.bands.items()}
        return {name: max(largest.get(name, []), default=0.0) for name in self.outputs}

    def see(self, spec: ModelSpec, actual: Arrays) -> None:
        """Take in the outputs of a float32 run."""
        for tensor in spec.outputs:
            name, value, exact = tensor.name, actual[tensor.name], self.outputs[tensor.name]
            if value.shape != exact.shape or not _alike(value, exact):
                self.meaningless = f"rounding alone changes {name}; a comparison would mean nothing"
                continue
            if exact.dtype.kind == "f":
                error = _errors(value, exact)
                before = self.bands.get(name, {})
                self.bands[name] = merged([before, measured(exact, error)])
            if projection := self.projections.get(name):
                sums = projected(tensor, value, projection.squash)
                noise = max(projection.noise, float(np.abs(sums - projection.sums).max(initial=0)))
                self.projections[name] = replace(projection, noise=noise)

    def project(self, spec: ModelSpec) -> None:
        """Add the projection of each output with a time axis, for a case of which steps are left.

        Values are pressed together from 8 times the scale of most of them on.
        """
        for tensor in spec.outputs:
            value = self.outputs[tensor.name]
            if tensor.step_axis is not None and value.dtype.kind in "fiub":
                squash = 1.0
                if value.dtype.kind == "f":
                    squash = 8 * scale_of_most(measured(value, np.zeros(value.shape)))
                sums = projected(tensor, value, squash)
                self.projections[tensor.name] = Projection(sums, squash, 0.0)


def measure(
    model: UserModel,
    spec: ModelSpec,
    plan: Sequence[Case],
    progress: Progress,
    more: Sequence[More] = (),
) -> tuple[list[Measured], list[str], list[Case]]:
    """Return every case of ``plan`` that can be judged, and a line for each reason why others not.

    So it does of those that ``more`` gives, once the cases before ran in float64. The last are the
    cases that the model runs and of which a comparison would mean nothing.
    UsageError where none can, or the model gives other outputs each time.
    """
    refused: Refused = defaultdict(list)
    values = Values(spec)
    results = _float64(model, spec, map(values.feed, plan), values, refused, progress)
    if results:
        largest = max(results, key=lambda m: m.case.longest * m.case.batch)
        for repeated, times in ((results[0], 2), (largest, 1)):
            _check_deterministic(model, spec, repeated, times)
        for further in more:
            feeds = further(results, values, refused)
            results += _float64(model, spec, feeds, values, refused, progress)
        results = _with_noise(model, spec, results, refused, progress)
    judged, uncompared = [], []
    for result in results:
        if reason := result.meaningless or _meaningless(result):
            refused[reason].append(_text(result.case))
            uncompared.append(result.case)
        else:
            judged.append(result)
    if not judged:
        reason, sizes = next(iter(refused.items()))
        raise UsageError(
            f"the model itself can be judged at none of the sizes; {sizes[0]}: {reason}"
        )
    lines = [
        f"{sizes[0]}{f' and {len(sizes) - 1} more' if len(sizes) > 1 else ''}: {reason}"
        for reason, sizes in refused.items()
    ]
    return judged, lines, uncompared


def _float64(
    model: UserModel,
    spec: ModelSpec,
    feeds: Iterable[Feed],
    values: Values,
    refused: Refused,
    progress: Progress,
) -> list[Measured]:
    """Return the cases that the model runs in float64, in a milder raggedness where it must be."""
    results: list[Measured] = []
    tried, instead = set(), dict[str, Case]()
    while True:
        for feed in feeds:
            case = feed.case
            tried.add(case.id)
            progress(f"{spec.name}: float64, case {len(tried)}")
            try:
                outputs = named(spec, run(model, feed.inputs, wide=True))
            except RefusedError as error:
                refused[f"{error} (in float64)"].append(_text(case))
                if (gentle := milder(case)) is not None:
                    instead[gentle.id] = gentle
                continue
            values.took(feed)
            case = sized(spec, case, outputs)
            result = Measured(case, feed.formulas, feed.inputs, outputs)
            if sum(value.nbytes for value in outputs.values()) > COMPLETE_BYTES:
                result.project(spec)
            results.append(result)
        left = [case for name, case in instead.items() if name not in tried]
        if not left:
            return results
        feeds = map(values.feed, left)


def _with_noise(
    model: UserModel,
    spec: ModelSpec,
    results: list[Measured],
    refused: Refused,
    progress: Progress,
) -> list[Measured]:
    """Return the cases after ``JITTERED`` float32 runs, which have other rounding errors each.

    In all but the first, weights and inputs are ``jittered``: then a run is also as far from the
    float64 outputs as the model amplifies an error of one ulp of each.
    """
    if model.framework == ONNX:
        progress(f"{spec.name}: float32")
        measured_runs: Any = model.measure(  # type: ignore[attr-defined]
            [result.inputs for result in results]
        )
        for result, runs in zip(results, measured_runs, strict=True):
            for run_outputs in runs:
                result.see(spec, run_outputs)
        return results
    try:
        for draw in range(JITTERED):
            model.move(partial(jittered, draw=draw))
            before, results = results, []
            for number, result in enumerate(before):
                inputs = _jittered_inputs(spec, result.inputs, draw)
                try:
                    rounded = named(spec, run(model, inputs, wide=False))
                    if draw == 0:
                        copies.check(model, spec, inputs, result.outputs, rounded)
                    result.see(spec, rounded)
                    results.append(result)
                except RefusedError as error:
                    refused[str(error)].append(_text(result.case))
                left = len(before) - number - 1
                progress(f"{spec.name}: float32, run {draw + 1}/{JITTERED}, {left} cases left")
    finally:
        model.move(lambda values: values)
    return results


def _jittered_inputs(spec: ModelSpec, inputs: Arrays, draw: int) -> Arrays:
    """Return inputs with every float moved but masks, lengths, padding and whole numbers."""
    own = {t.name for t in spec.inputs if t.dtype == "float32" and not t.whole}
    moved = jittered({n: v for n, v in inputs.items() if n in own - {*spec.masks}}, draw)
    if spec.padded in moved:
        value = inputs[spec.padded]
        moved[spec.padded] = np.where(value == spec.padding, value, moved[spec.padded])
    return {**inputs, **moved}


def _alike(actual: Array, exact: Array) -> bool:
    """Return whether the integers, or the places that are not finite, are the same."""
    if exact.dtype.kind != "f":
        return np.array_equal(actual, exact)
    not_finite = ~np.isfinite(exact)
    return np.array_equal(not_finite, ~np.isfinite(actual)) and np.array_equal(
        actual[not_finite], exact[not_finite], equal_nan=True
    )


def _errors(actual: Array, exact: Array) -> Array:
    """Return the absolute errors of floats; 0 where a value is not finite."""
    with np.errstate(invalid="ignore"):
        error = np.abs(actual.astype(np.float64) - exact)
    return np.where(np.isfinite(exact), error, 0.0)


def _check_deterministic(model: UserModel, spec: ModelSpec, result: Measured, times: int) -> None:
    """Raise UsageError where a case gives other outputs after other cases, or after itself."""
    runs = [named(spec, run(model, result.inputs, wide=True)) for _ in range(times)]
    for outputs, (name, value) in product(runs, result.outputs.items()):
        again = outputs[name]
        same = value.shape == again.shape and _alike(again, value)
        if not same or not _as_before(again, value):
            raise UsageError(
                f"{model.class_name} gives another {name!r} for the same inputs: it draws random"
                " numbers or keeps a state between calls; make the state an input and an output"
            )


def _as_before(again: Array, value: Array) -> bool:
    """Return whether two float64 runs differ by no more than the order of sums may make them."""
    floats = value.dtype.kind == "f"
    return not floats or bool(_errors(again, value).max(initial=0.0) <= SAME * _scale(value))


def _meaningless(result: Measured) -> str:
    """Return why a comparison of this case would mean nothing; empty where it means something."""
    for name, value in result.outputs.items():
        if value.dtype.kind == "f" and value.size and not np.isfinite(value).any():
            return f"{name} is finite nowhere; there is nothing to compare"
        moved = drowned(result.bands.get(name, {}))
        scale, noise = _scale(value), result.noise[name]
        if moved is None and value.dtype.kind == "f" and drowns(noise, scale):
            moved = noise, scale
        if moved is not None:
            return (
                f"rounding alone moves {name} by {moved[0]:.1g} of {moved[1]:.1g}; a comparison"
                " would mean nothing"
            )
    return ""


def _scale(value: Array) -> float:
    """Return the largest finite absolute value; 0 for other than floats."""
    finite = value[np.isfinite(value)] if value.dtype.kind == "f" else value[:0]
    return float(np.abs(finite).max(initial=0.0))


def _text(case: Case) -> str:
    padding = "" if case.raggedness is Raggedness.NONE else f", padding {case.padding}"
    return f"{lengths_text(case.lengths)}, batch={case.batch}{padding}"
