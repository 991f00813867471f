"""Relations between the runs of one cell, judged as cases that need no golden output."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from harness.core import compare
from harness.core.errors import StageError, crashed, one_line
from harness.core.registry import resolve
from harness.core.results import CaseResult, OutputComparison, Status
from harness.core.schema import Array, Case, GoldenCase, Runtime, Session, Stage
from harness.core.temporary import temporary_folder
from harness.core.tolerance import Row, largest_finite
from harness.goldens.store import Golden
from harness.relations import RELATIONS
from harness.relations.context import Check, Context, Pair

LENGTHS = (1, 2, 7, 33, 128, 513)
"""Relations are tried at the selected lengths nearest to these, by their ratio."""
RUNS = 2
"""Two float32 runs, each within its tolerance of the truth, differ by twice that at most."""


def judge(
    name: str,
    golden: Golden,
    cases: Sequence[Case],
    model: Path,
    row: Row,
    runtime: Runtime,
    session: Session,
    note: Callable[[str], None] = lambda reason: None,
) -> Iterator[CaseResult]:
    """Yield results of the relation ``name``, one a case and pair.

    Where it does not apply there are none, and ``note`` gets the reason in a line.

    ``cases`` are the selected ones, of which some are tried; ``session`` holds ``model`` in
    ``runtime``, which may err by ``row``. A failure to run, or to load a derived graph, is a
    failing case; any other exception is an error.
    """
    loaded = [golden.load(case) for case in spread(cases)]
    with temporary_folder() as folder:
        context = Context(
            golden.spec,
            model,
            runtime,
            session,
            loaded,
            frozenset(case.raggedness for case in golden.cases),
            partial(compare.structure, row=row),
            folder,
        )
        check: Check | str = ""
        for number, golden_case in enumerate(loaded):
            started = time.perf_counter()
            try:
                if number == 0:
                    check = resolve(RELATIONS[name])(context)
                if isinstance(check, str):
                    note(check)
                    return
                for pair in check(golden_case):
                    result = _result(name, context, golden_case, pair, row)
                    yield replace(result, seconds=time.perf_counter() - started)
                    started = time.perf_counter()
            except (Exception, SystemExit) as error:
                failed = error if isinstance(error, StageError) else None
                status = Status.FAIL if failed and not crashed(failed) else Status.ERROR
                stage = failed.stage if failed else Stage.RUN
                reason = f"relation {name}: {failed or one_line(error)}"
                seconds = time.perf_counter() - started
                yield CaseResult(golden_case.case, status, stage, reason, (), seconds, name)


def spread(cases: Sequence[Case]) -> list[Case]:
    """Return each raggedness' largest batch at the lengths nearest to ``LENGTHS``, ascending.

    A case's length is that of its longest axis; those with several steps along every axis go
    before all others. Cases with an axis of no steps are chosen besides.
    """
    lengths = sorted({case.longest for case in cases})
    near = set()
    for target in LENGTHS:
        ratios = {length: abs(math.log(length / target)) for length in lengths}
        near.add(min(lengths, key=ratios.__getitem__))

    def place(case: Case) -> tuple[int, bool, int]:
        return case.longest, min(case.lengths.values(), default=1) > 1, case.batch

    chosen = {}
    for case in sorted(cases, key=place):
        if case.longest in near:
            chosen[case.longest, case.raggedness, 0 in case.lengths.values()] = case
    return list(chosen.values())


def _result(name: str, context: Context, golden: GoldenCase, pair: Pair, row: Row) -> CaseResult:
    judged = _bits if pair.exact else _values
    outputs = tuple(
        replace(output, reason=f"{pair.how}: {output.reason}")
        if output.reason and pair.how
        else output
        for output in judged(context, golden, pair, row)
    )
    bad = [output for output in outputs if output.reason]
    status = Status.FAIL if bad else Status.PASS
    reason = f"relation {name}: output {bad[0].name}: {bad[0].reason}" if bad else ""
    return CaseResult(golden.case, status, Stage.COMPARE, reason, outputs, relation=name)


def _values(
    context: Context, golden: GoldenCase, pair: Pair, row: Row
) -> tuple[OutputComparison, ...]:
    """Compare the two runs, with the noise floor and the scale of two runs."""
    scales = {n: _scale(v, golden.scale.get(n, 0.0)) for n, v in pair.expected.items()}
    two = replace(
        golden,
        outputs=pair.expected,
        steps=None,
        projections={},
        noise_floor={n: RUNS * floor for n, floor in golden.noise_floor.items()},
        band_floors={n: RUNS * floors for n, floors in golden.band_floors.items()},
        scale={n: RUNS * scale for n, scale in scales.items()},
    )
    spec = replace(context.spec, valid_only=context.spec.valid_only and not pair.whole)
    return compare.compare(spec, two, list(pair.actual.items()), row)


def _bits(
    context: Context, golden: GoldenCase, pair: Pair, row: Row
) -> tuple[OutputComparison, ...]:
    """Compare the two runs without a tolerance: every bit of every value counts."""
    return tuple(
        replace(
            output,
            noise_floor=0.0,
            tolerance=0.0,
            ratio=output.max_abs,
            reason=_difference(pair.expected[output.name], pair.actual[output.name]),
        )
        for output in _values(context, golden, pair, row)
    )


def _difference(expected: Array, actual: Array) -> str:
    if expected.tobytes() == actual.tobytes():
        return ""
    same = (expected == actual) & (np.signbit(expected) == np.signbit(actual))
    return f"{int((~same).sum())} of {same.size} values are not the same bits"


def _scale(value: Array, usual: float) -> float:
    return max(usual, largest_finite(value))
