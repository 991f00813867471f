"""A user model at every case: its float64 outputs, and how far rounding moves them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from harness.core.errors import UsageError
from harness.core.schema import Arrays, Case, ModelSpec, Progress, Raggedness, lengths_text
from harness.goldens.noise_floor import JITTERED, jittered
from harness.recording import copies
from harness.recording.cases import milder
from harness.recording.measured import Measured
from harness.recording.output_axes import named, sized
from harness.recording.probing import RefusedError, UserModel, run
from harness.recording.values import Feed, Values

BLOCK_BYTES = 1 << 26
"""The outputs that are held at once, about; of those that were measured some steps are kept."""
ONNX = "onnx"
"""The framework of a model that is a graph, which gives its rounded runs itself."""
Refused = defaultdict[str, list[str]]
"""Cases that cannot be judged, as texts, by the reason."""
More = Callable[[list[Measured], Values, Refused], Iterable[Feed]]
"""What gives further cases after the first ones ran in float64."""


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
    results: list[Measured] = []

    def take(feeds: Iterable[Feed], counted: Progress) -> None:
        for block in _blocks(_float64(model, spec, feeds, values, refused, counted)):
            results.extend(_with_noise(model, spec, block, refused, progress))

    take(map(values.feed, plan), lambda text: progress(f"{text}/{len(plan)}"))
    if results:
        largest = max(results, key=lambda m: m.case.longest * m.case.batch)
        for repeated, times in ((results[0], 2), (largest, 1)):
            _check_deterministic(model, spec, repeated, times)
        for further in more:
            take(further(results, values, refused), progress)
    judged, uncompared = [], []
    for result in results:
        if reason := result.meaningless:
            refused[reason].append(_text(result.case))
            uncompared.append(result.case)
        else:
            judged.append(result)
    if not judged:
        reason, sizes = next(iter(refused.items()))
        raise UsageError(
            f"{spec.name}: the model itself can be judged at none of the sizes; {sizes[0]}:"
            f" {reason}; describe the sizes that it is for, as in"
            " 'time: multiple of 4', or give --lengths"
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
) -> Iterator[Measured]:
    """Yield the cases that the model runs in float64, in a milder raggedness where it must be."""
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
            if result.large:
                result.project(spec)
            yield result
        left = [case for name, case in instead.items() if name not in tried]
        if not left:
            return
        feeds = map(values.feed, left)


def _blocks(results: Iterable[Measured]) -> Iterator[list[Measured]]:
    """Yield results in lists whose outputs have about ``BLOCK_BYTES`` each."""
    block: list[Measured] = []
    size = 0
    for result in results:
        block.append(result)
        size += 8 * result.values
        if size > BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _with_noise(
    model: UserModel,
    spec: ModelSpec,
    results: list[Measured],
    refused: Refused,
    progress: Progress,
) -> list[Measured]:
    """Return the cases, thinned, after ``JITTERED`` float32 runs with other rounding errors each.

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
            result.thin(spec)
        return results
    try:
        for draw in range(JITTERED):
            model.move(partial(jittered, draw=draw))
            before, results = results, []
            for number, result in enumerate(before):
                inputs = _jittered_inputs(spec, result.inputs, draw)
                try:
                    rounded = named(spec, run(model, inputs, wide=False))
                    # a row without a valid step may hold what rounding decides
                    if draw == 0 and result.case.raggedness is not Raggedness.EMPTY:
                        copies.check(model, spec, inputs, result.outputs, rounded)
                    result.see(spec, rounded)
                    results.append(result)
                except RefusedError as error:
                    refused[str(error)].append(_text(result.case))
                done, total = draw * len(before) + number + 1, JITTERED * len(before)
                progress(f"{spec.name}: float32, case {done}/{total}")
    finally:
        model.move(lambda values: values)
    for result in results:
        result.thin(spec)
    return results


def _jittered_inputs(spec: ModelSpec, inputs: Arrays, draw: int) -> Arrays:
    """Return inputs with every float moved but masks, lengths, padding and whole numbers."""
    own = {t.name for t in spec.inputs if t.dtype == "float32" and not t.whole}
    moved = jittered(
        {n: v for n, v in inputs.items() if n in own - {*spec.masks, *spec.causal}}, draw
    )
    for name, padding in spec.paddings.items():
        if name in moved:
            moved[name] = np.where(inputs[name] == padding, inputs[name], moved[name])
    return {**inputs, **moved}


def _check_deterministic(model: UserModel, spec: ModelSpec, result: Measured, times: int) -> None:
    """Raise UsageError where a case gives other outputs after other cases, or after itself."""
    for _ in range(times):
        if name := result.same(spec, named(spec, run(model, result.inputs, wide=True))):
            raise UsageError(
                f"{model.class_name} gives another {name!r} for the same inputs: it draws random"
                " numbers or keeps a state between calls; make the state an input and an output"
            )


def _text(case: Case) -> str:
    padding = "" if case.raggedness is Raggedness.NONE else f", padding {case.padding}"
    return f"{lengths_text(case.lengths)}, batch={case.batch}{padding}"
