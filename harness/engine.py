"""The one loop: prepare a cell once, run every case on that one session, compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import compare, graph
from harness.errors import StageError, one_line
from harness.golden import Golden
from harness.schema import (
    Case,
    CaseResult,
    Cell,
    CellResult,
    GoldenCase,
    Runtime,
    Session,
    Stage,
    Status,
    lengths_text,
)


@dataclass(frozen=True)
class Work:
    """A cell with all that judging it needs.

    Exactly one of ``model`` (a file to run), ``failure`` (its export failed) and ``unavailable``
    (why it cannot be judged here) is set. ``cases`` are run in their order, then the first again.
    ``expected`` says that expectations may hold for the cell; ``complete`` makes a golden case with
    every step of one that holds some.
    """

    cell: Cell
    golden: Golden
    cases: Sequence[Case]
    model: Path | None = None
    failure: StageError | None = None
    unavailable: str | None = None
    example: Mapping[str, int] = field(default_factory=dict)
    replay: str = ""
    expected: bool = True
    complete: Callable[[GoldenCase], GoldenCase] | None = None


def run(
    works: Sequence[Work],
    runtimes: Mapping[str, Runtime],
    step: Callable[[Work], None] = lambda work: None,
) -> Iterator[CellResult]:
    """Judge every cell in turn; ``step`` is called after each case."""
    store: dict[str, GoldenCase] = {}
    current: Golden | None = None
    for work in works:
        if work.golden is not current:
            store.clear()
            current = work.golden
        started = time.perf_counter()
        result = _judge(work, runtimes[work.cell.runtime], store, step)
        yield replace(result, seconds=time.perf_counter() - started, replay=work.replay)


def _judge(
    work: Work, runtime: Runtime, store: dict[str, GoldenCase], step: Callable[[Work], None]
) -> CellResult:
    reason = work.unavailable or runtime.check()
    if reason is not None:
        return CellResult(work.cell, Status.UNAVAILABLE, Stage.LOAD, reason)
    try:
        if work.failure is not None:
            raise work.failure
        assert work.model is not None
        graph.check(graph.read(str(work.model)), work.golden.spec, work.example)
        session = runtime.prepare(str(work.model))
    except StageError as error:
        return CellResult(work.cell, Status.FAIL, error.stage, str(error))
    results = []
    again = [replace(case, repeat=True) for case in work.cases[:1] if len(work.cases) > 1]
    for case in [*work.cases, *again]:
        results.append(_case(work, case, session, store))
        step(work)
    return _verdict(work.cell, session, tuple(results))


def _case(work: Work, case: Case, session: Session, store: dict[str, GoldenCase]) -> CaseResult:
    if case.id not in store:
        loaded = work.golden.load(case)
        store[case.id] = work.complete(loaded) if work.complete else loaded
    golden = store[case.id]
    started = time.perf_counter()
    try:
        actual = session.run(golden.inputs)
    except StageError as error:
        seconds = time.perf_counter() - started
        return CaseResult(case, Status.FAIL, error.stage, str(error), seconds=seconds)
    except Exception as error:
        return CaseResult(case, Status.FAIL, Stage.RUN, one_line(error))
    seconds = time.perf_counter() - started
    if reason := compare.structure(work.golden.spec, golden, actual):
        return CaseResult(case, Status.FAIL, Stage.COMPARE, reason, seconds=seconds)
    outputs = compare.compare(work.golden.spec, golden, actual, work.cell.runtime)
    bad = [output for output in outputs if output.reason]
    reason = f"output {bad[0].name}: {bad[0].reason}" if bad else ""
    status = Status.FAIL if bad else Status.PASS
    return CaseResult(case, status, Stage.COMPARE, reason, outputs, seconds)


def _verdict(cell: Cell, session: Session, cases: tuple[CaseResult, ...]) -> CellResult:
    """A cell fails at the earliest stage at which one of its cases does."""
    evidence = session.evidence()
    failed = [case for case in cases if case.status is not Status.PASS]
    if not failed:
        return CellResult(cell, Status.PASS, Stage.COMPARE, "", evidence, cases)
    order = list(Stage)
    first = min(failed, key=lambda case: order.index(case.stage))
    reason = (
        f"{len(failed)} of {len(cases)} cases; first at {lengths_text(first.case.lengths)},"
        f" batch={first.case.batch}: {first.reason}"
    )
    return CellResult(cell, Status.FAIL, first.stage, reason, evidence, cases)
