"""The verdict: whether an output is the oracle's, within its tolerance; computed in float64."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.core.along import along, larger
from harness.core.bands import band_of
from harness.core.projection import Projection, projected
from harness.core.results import OutputComparison
from harness.core.schema import Array, GoldenCase, ModelSpec, TensorSpec
from harness.core.tolerance import DEFAULT_ROW, Row, output_dtype, scale_of, tolerance, tolerances

SAFETY = 2.0
"""How many times an operator's known error is allowed where it gives an output itself."""
_TINY = float(np.finfo(np.float32).tiny)


def structure(
    spec: ModelSpec, golden: GoldenCase, actual: Sequence[tuple[str, Array]], row: Row = DEFAULT_ROW
) -> str:
    """Return how names, count, dtypes or shapes differ from the specification; empty if not."""
    expected = [t.name for t in spec.outputs]
    returned = [name for name, _ in actual]
    for what, more, fewer in (("missing", expected, returned), ("extra", returned, expected)):
        names = sorted((Counter(more) - Counter(fewer)).elements())
        if names:
            return f"{what} output {', '.join(names)}; expected {expected}, got {returned}"
    arrays = dict(actual)
    for tensor in spec.outputs:
        value = arrays[tensor.name]
        dtype = output_dtype(row, tensor.dtype)
        if value.dtype != dtype and (value.dtype.kind, dtype.kind) != ("U", "O"):
            return f"output {tensor.name} is {value.dtype}, expected {dtype}"
        shape = tensor.shape(golden.case.batch, golden.case.lengths)
        if value.shape != shape:
            return f"output {tensor.name} has shape {value.shape}, expected {shape}"
    return ""


def compare(
    spec: ModelSpec, golden: GoldenCase, actual: Sequence[tuple[str, Array]], row: Row
) -> tuple[OutputComparison, ...]:
    """Compare every output, in which ``structure`` finds no difference, with the oracle's.

    An output whose ``reason`` is not empty does not conform. Padded steps that mean nothing are
    left out. Where there is a projection of every step, it is compared too.
    """
    arrays = dict(actual)
    compared = []
    for tensor in spec.outputs:
        value, expected = arrays[tensor.name], golden.outputs[tensor.name]
        padded = spec.left_out(tensor, golden.inputs)
        if padded is not None:
            padded = np.broadcast_to(padded, value.shape)
            value = np.where(padded, value.dtype.type(0), value)
            expected = np.where(tensor.at_steps(padded, golden.steps), 0, expected)
        output = _output(tensor, value, expected, golden, row)
        projection = golden.projections.get(tensor.name)
        if projection is not None:
            output = _with_projection(tensor, value, projection, output, golden, row)
        compared.append(output)
    return tuple(compared)


def _output(
    tensor: TensorSpec, actual: Array, expected: Array, golden: GoldenCase, row: Row
) -> OutputComparison:
    exact = np.dtype(tensor.dtype).kind not in "fc"
    if np.dtype(tensor.dtype).kind == "O":
        actual, expected = _coded(actual, expected)
    finite_golden = bool(np.isfinite(expected).all())
    steps, axis = golden.steps, tensor.step_axis
    all_steps = 1 if axis is None else actual.shape[axis]
    # infinity or NaN at a step that is not held shows in the projection, where there is one
    seen = tensor.at_steps(actual, steps) if tensor.name in golden.projections else actual
    stray = "" if np.isfinite(seen).all() or not finite_golden else _not_finite(seen)
    actual = tensor.at_steps(actual, steps)
    apart = actual != expected
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    all_finite = finite_golden and not stray
    finite: Any = ... if all_finite else np.isfinite(expected) & np.isfinite(actual)
    error = np.zeros(expected.shape)
    error[finite] = np.abs(actual[finite] - expected[finite])
    error = np.maximum(error, apart) if exact else error
    disagreeing: Any = () if all_finite else np.argwhere(~(finite | _same(actual, expected)))
    floor = golden.noise_floor[tensor.name]
    expected_error = golden.expected_error.get(tensor.name, 0.0)
    floors = golden.band_floors.get(tensor.name)
    at_worst: tuple[int, ...]
    if floors is None or exact or row.full_precision:
        scale = scale_of(golden.scale.get(tensor.name, 0.0), expected)
        allowed = 0.0 if exact else tolerance(row, floor, scale) + expected_error
        at_worst = _argmax(error)
        ratios = error / allowed if allowed > 0 else error
    else:
        by_value = floors[band_of(expected)]
        own = SAFETY * row.at_outputs.get(tensor.name, 0.0)
        allowances = np.maximum(tolerances(row, by_value, expected), own) + expected_error
        if tensor.name in golden.operator_error:
            allowances += tensor.at_steps(golden.operator_error[tensor.name], steps)
        ratios = error / allowances
        at_worst = _argmax(ratios)
        allowed = float(allowances[at_worst]) if error.size else 0.0
        floor = float(by_value[at_worst]) if error.size else floor
    largest = float(error[at_worst]) if error.size else 0.0
    ratio = largest / allowed if allowed > 0 else largest
    if len(disagreeing):
        ratios[tuple(disagreeing.T)] = np.nan
    worst = _index(disagreeing[0]) if len(disagreeing) else at_worst
    if axis is not None and worst and steps is not None:
        worst = (*worst[:axis], int(steps[worst[axis]]), *worst[axis + 1 :])
    reason = stray
    if len(disagreeing) and not reason:
        reason = f"NaN or infinity in other places than expected, first at {list(worst)}"
    if not reason and not ratio <= (0.0 if exact else 1.0):
        reason = f"error {largest:.3g} is {ratio:.3g} times the tolerance {allowed:.3g}"
    return OutputComparison(
        name=tensor.name,
        max_abs=largest,
        max_rel=float((error / np.maximum(abs(expected), _TINY))[finite].max(initial=0.0)),
        max_ulp=_ulps(actual[finite], expected[finite]),
        noise_floor=floor,
        tolerance=allowed,
        ratio=ratio,
        worst_index=worst,
        worst_step=worst[axis] if axis is not None and worst else None,
        reason=reason,
        steps=all_steps,
        steps_compared=1 if axis is None else actual.shape[axis],
        by_step=along(ratios, axis, steps, all_steps),
    )


def _with_projection(
    tensor: TensorSpec,
    actual: Array,
    projection: Projection,
    output: OutputComparison,
    golden: GoldenCase,
    row: Row,
) -> OutputComparison:
    """Return how an output compares at all steps, from how it does at the stored ones.

    Its figures are those of the worst sum where that is farther out than the worst value.
    """
    output = replace(output, steps_compared=output.steps)
    sums = projected(tensor, actual, projection.squash)
    if sums.dtype.kind != "f":
        error = (sums != projection.sums).astype(np.float64)
        allowed = 0.0
    else:
        error = np.abs(sums - projection.sums)
        allowed = tolerance(row, projection.noise, float(np.abs(projection.sums).max(initial=0)))
        own = row.at_outputs.get(tensor.name, 0.0)
        if tensor.name in golden.operator_error:
            own = max(own, float(golden.operator_error[tensor.name].max(initial=0.0)))
        values = actual.size / max(sums.size, 1)
        allowed = max(allowed, SAFETY * own * values**0.5)
        allowed += golden.expected_error.get(tensor.name, 0.0) * values
    largest = float(error.max(initial=0.0))
    ratio = largest / allowed if allowed > 0 else largest
    by_step = along(error / allowed if allowed > 0 else error, 1, None, output.steps)
    output = replace(output, by_step=larger(output.by_step, by_step))
    if output.reason or ratio <= output.ratio:
        return output
    batch, step = _argmax(error)
    beyond = ratio > (1.0 if allowed > 0 else 0.0)
    how = f"{largest:.3g} is {ratio:.3g} times the tolerance {allowed:.3g}"
    return replace(
        output,
        max_abs=largest,
        noise_floor=projection.noise,
        tolerance=allowed,
        ratio=ratio,
        worst_index=(batch, step),
        worst_step=step,
        reason=f"at step {step} of row {batch}, the error of the projection, {how}"
        if beyond
        else "",
    )


def _coded(actual: Array, expected: Array) -> tuple[Array, Array]:
    """Return two arrays of strings as numbers, which are equal where the strings are."""
    words = dict.fromkeys(str(word) for word in (*expected.flat, *actual.flat))
    codes = {word: float(code) for code, word in enumerate(words)}
    coded = [[codes[str(word)] for word in array.flat] for array in (actual, expected)]
    return np.reshape(coded[0], actual.shape), np.reshape(coded[1], expected.shape)


def _same(actual: Array, expected: Array) -> Array:
    """Return where both hold the same infinity, or NaN."""
    return np.asarray((actual == expected) | (np.isnan(actual) & np.isnan(expected)))


def _not_finite(actual: Array) -> str:
    places = np.argwhere(~np.isfinite(actual))
    first = _index(places[0])
    return f"{len(places)} values are not finite, first {actual[first]} at {list(first)}"


def _index(place: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(i) for i in place)


def _argmax(error: Array) -> tuple[int, ...]:
    return _index(np.unravel_index(error.argmax(), error.shape)) if error.size else ()


def _ulps(actual: Array, expected: Array) -> int:
    """Return the largest distance between two values, counted in float32 values."""
    pair = np.stack([actual, expected])
    raw = np.clip(pair, -3.4e38, 3.4e38).astype(np.float32).view(np.int32).astype(np.int64)
    first, second = np.where(raw < 0, -(raw & 0x7FFFFFFF), raw)
    return int(np.abs(first - second).max(initial=0))
