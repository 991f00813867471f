"""The cases of a job: each is loaded, run and compared, the next one meanwhile."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from harness.core import compare
from harness.core.errors import StageError, crashed
from harness.core.results import CaseResult, Status
from harness.core.schema import Array, Arrays, Case, GoldenCase, Session, Stage
from harness.validation.job import Notify, Ready
from harness.validation.known_errors import KnownErrors

_STORING = threading.Lock()
AHEAD = BEHIND = 16
"""Cases that are loaded ahead of the one that runs, and that may wait to be compared"""


def golden_case(job: Ready, case: Case, store: dict[str, GoldenCase]) -> GoldenCase:
    """Return a case's inputs and expected outputs, loaded once into ``store``, by id."""
    if case.id not in store:
        with _STORING:
            if case.id not in store:
                loaded = job.golden.load(case)
                store[case.id] = job.complete(loaded) if job.complete else loaded
    return store[case.id]


def judge_case(
    job: Ready,
    case: Case,
    session: Session,
    store: dict[str, GoldenCase],
    known: KnownErrors | None = None,
) -> CaseResult:
    """Run one case on a session and compare its outputs; ``known`` are the runtime's own errors."""
    golden = golden_case(job, case, store)
    return _compared(job, golden, _run(case, session, _copies(golden.inputs)), known)


class Beside(ThreadPoolExecutor):
    """A thread that loads golden cases ahead of the one that runs, and compares those that ran."""

    def __init__(self, trusted: Collection[str] = ()) -> None:
        super().__init__(1)
        self.trusted = trusted

    def loading(self, job: Ready, store: dict[str, GoldenCase]) -> Iterator[Future[GoldenCase]]:
        """Begin to load the first ``AHEAD`` cases of a job, and one more for each that is taken.

        Cases that are completed are loaded only when they run.
        """
        cases = iter(() if job.complete else job.cases)
        for case in islice(cases, AHEAD):
            self.submit(golden_case, job, case, store)
        return (self.submit(golden_case, job, case, store) for case in cases)

    def __exit__(self, *raised: Any) -> None:
        self.shutdown(cancel_futures=True)


def results(
    job: Ready,
    session: Session,
    store: dict[str, GoldenCase],
    notify: Notify,
    beside: Beside,
    ahead: Iterator[Any],
    known: KnownErrors,
) -> list[CaseResult]:
    """Return every case's result in turn; raise where a case that cannot be loaded would run."""
    trusted = job.cell.runtime in beside.trusted
    compared: deque[Future[CaseResult]] = deque()
    judged: list[CaseResult] = []

    def settle(left: int) -> None:
        while len(compared) > left:
            judged.append(compared.popleft().result())
            notify(job, judged[-1])

    for case in [*job.cases, *job.again]:
        notify(job, case)
        next(ahead, None)
        golden = golden_case(job, case, store)
        ran = _run(case, session, golden.inputs if trusted else _copies(golden.inputs))
        compared.append(beside.submit(_compared, job, golden, ran, known))
        settle(BEHIND if trusted else 0)
    settle(0)
    return judged


@dataclass(frozen=True)
class _Ran:
    """A case that ran: outputs in the graph's order, or why there are none."""

    case: Case
    seconds: float
    outputs: Sequence[tuple[str, Array]] = ()
    error: StageError | None = None


def _run(case: Case, session: Session, inputs: Arrays) -> _Ran:
    started = time.perf_counter()
    try:
        outputs = session.run(inputs)
    except StageError as error:
        return _Ran(case, time.perf_counter() - started, error=error)
    return _Ran(case, time.perf_counter() - started, outputs)


def _copies(inputs: Arrays) -> Arrays:
    return {name: value.copy() for name, value in inputs.items()}


def _compared(job: Ready, golden: GoldenCase, ran: _Ran, known: KnownErrors | None) -> CaseResult:
    case, seconds, error = ran.case, ran.seconds, ran.error
    if error is not None:
        return CaseResult(case, status(error), error.stage, str(error), seconds=seconds)
    row = job.runtime.row
    if reason := compare.structure(job.golden.spec, golden, ran.outputs, row):
        return CaseResult(case, Status.FAIL, Stage.COMPARE, reason, seconds=seconds)
    outputs = compare.compare(job.golden.spec, golden, ran.outputs, row)
    if job.doubt is not None and any(output.reason for output in outputs):
        golden = replace(golden, expected_error=job.doubt.of(golden.inputs))
        outputs = compare.compare(job.golden.spec, golden, ran.outputs, row)
    bad = [output for output in outputs if output.reason]
    if bad and known is not None and (again := known.again(golden, ran.outputs, outputs)):
        bad, outputs = [], again
    reason = f"output {bad[0].name}: {bad[0].reason}" if bad else ""
    verdict = Status.FAIL if bad else Status.PASS
    return CaseResult(case, verdict, Stage.COMPARE, reason, outputs, seconds)


def left_out(job: Ready, store: dict[str, GoldenCase]) -> dict[str, int]:
    """Return how many padded steps of each output mean nothing, and were not compared."""
    spec, counts = job.golden.spec, dict[str, int]()
    for case in job.cases if spec.valid_only else ():
        for tensor in spec.outputs if case.id in store else ():
            if (padded := spec.left_out(tensor, store[case.id].inputs)) is not None:
                counts[tensor.name] = counts.get(tensor.name, 0) + int(padded.sum())
    return counts


def status(error: Exception) -> Status:
    """Return ERROR where a process was lost or memory lacks; else FAIL."""
    return Status.ERROR if crashed(error) else Status.FAIL
