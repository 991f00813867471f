"""The one loop: prepare a cell once, run every case on that one session, compare."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from harness import compare, findings, graph, relating, tolerance
from harness.crashes import crashed
from harness.errors import LoadError, StageError, one_line
from harness.golden import Golden
from harness.saving import saved
from harness.saving.recorder import Recorder
from harness.schema import (
    Array,
    Arrays,
    Case,
    CaseResult,
    Cell,
    CellResult,
    GoldenCase,
    Runtime,
    Session,
    Stage,
    Status,
    framework_of,
    lengths_text,
)


@dataclass(frozen=True)
class Work:
    """A cell with all that judging it needs.

    Exactly one of ``model`` (a file to run), ``failure`` (its export failed) and ``unavailable``
    (why it cannot be judged here) is set. ``cases`` are run in their order, then the first again.
    ``expected`` says that expectations may hold for the cell; ``complete`` makes a golden case with
    every step of one that holds some. ``relations`` are tried at some of the cases afterwards.
    ``row`` names a row of the tolerance table other than the runtime's, ``save`` where the outputs
    are to be kept. ``loaded`` holds outputs kept elsewhere, which stand for the runtime; the model
    may be missing then. ``declared`` says that the golden's specification is what the model has to
    declare, not what it was found to; ``evidence`` is told beside the session's.
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
    relations: Sequence[str] = ()
    row: str = ""
    save: saved.Place | None = None
    loaded: saved.Saved | None = None
    declared: bool = True
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def again(self) -> list[Case]:
        """The first of several cases, to be run once more; of kept outputs, where they have it."""
        first = [replace(case, repeat=True) for case in self.cases[:1] if len(self.cases) > 1]
        return [case for case in first if self.loaded is None or self.loaded.repeats(case)]

    @property
    def judged_as(self) -> str:
        """The row of the tolerance table."""
        return self.row or self.cell.runtime


Event = Stage | Case | CaseResult | str
"""What is told of a cell: it reaches a stage, begins a case, or a relation by its name, or has
judged a case."""
Tell = Callable[[Work, Event], None]
_STORING = threading.Lock()
AHEAD = 8
"""Cases that are loaded ahead of the one that runs"""


def run(
    works: Iterable[Work],
    runtimes: Mapping[str, Runtime],
    tell: Tell = lambda work, event: None,
    behind: int = 0,
) -> Iterator[CellResult]:
    """Judge every cell in turn; ``tell`` is told every event of it.

    Up to ``behind`` cases are still being compared while the next one runs: of these nothing has
    been told if that one crashes.
    """
    store: dict[str, GoldenCase] = {}
    current: Path | None = None
    with Beside(behind) as beside:
        for work in works:
            if work.golden.folder != current:
                store.clear()
                current = work.golden.folder
            started = time.perf_counter()
            runtime = work.loaded or runtimes[work.cell.runtime]
            if work.save is None:
                result = _judge(work, runtime, store, tell, beside)
            else:
                recorder = Recorder(runtime, len(work.cases) + len(work.again))
                result = _judge(work, recorder, store, tell, beside)
                kept = result, work.golden.manifest["sha256"], work.model, runtime, recorder.runs
                saved.write(work.save, *kept)
            yield replace(result, seconds=time.perf_counter() - started, replay=work.replay)


def _judge(
    work: Work, runtime: Runtime, store: dict[str, GoldenCase], tell: Tell, beside: Beside
) -> CellResult:
    reason = work.unavailable or runtime.check()
    if reason is not None:
        return CellResult(work.cell, Status.UNAVAILABLE, Stage.LOAD, reason)
    lint: dict[str, Any] = {}
    try:
        if work.failure is not None:
            raise work.failure
        ahead = beside.loading(work, store)
        if work.model is not None:
            tell(work, Stage.CHECK)
            found = findings.of_file(work.model, work.example)
            lint["lint"] = [finding.as_dict() for finding in found]
            _check(work.model, work, found)
        tell(work, Stage.LOAD)
        session = _load(work.model or Path(), work, runtime)
    except StageError as error:
        return CellResult(work.cell, _status(error), error.stage, str(error), lint)
    tell(work, Stage.RUN)
    results = _results(work, session, store, tell, beside, ahead)
    for name in work.relations:
        assert work.model is not None
        tell(work, name)
        for result in relating.judge(
            name, work.golden, work.cases, work.model, work.judged_as, runtime, session
        ):
            results.append(result)
            tell(work, result)
    told = {"tolerance": tolerance.told(work.judged_as), **lint, **work.evidence}
    return _verdict(work.cell, {**session.evidence(), **told}, tuple(results))


def prepare(
    model: Path, work: Work, runtime: Runtime, found: findings.Findings | None = None
) -> Session:
    """The session of a model file that is valid and what the work's specification says.

    ``found`` is what the lint finds in it, if that is known. CheckError or LoadError, in one line,
    where the file is not valid, has an error among its findings, or cannot be loaded.
    """
    _check(model, work, found)
    return _load(model, work, runtime)


def _check(model: Path, work: Work, found: findings.Findings | None) -> None:
    if work.declared:
        graph.check(graph.read(str(model)), work.golden.spec, work.example)
    findings.refuse(findings.of_file(model, work.example) if found is None else found)


def _load(model: Path, work: Work, runtime: Runtime) -> Session:
    try:
        return runtime.prepare(str(work.golden.folder if framework_of(runtime) else model))
    except StageError:
        raise
    except Exception as error:
        raise LoadError(one_line(error)) from error


def _status(error: Exception) -> Status:
    return Status.ERROR if crashed(error) else Status.FAIL


def golden_case(work: Work, case: Case, store: dict[str, GoldenCase]) -> GoldenCase:
    """A case's inputs and expected outputs, loaded once into ``store``, by id."""
    if case.id not in store:
        with _STORING:
            if case.id not in store:
                loaded = work.golden.load(case)
                store[case.id] = work.complete(loaded) if work.complete else loaded
    return store[case.id]


def judge_case(
    work: Work, case: Case, session: Session, store: dict[str, GoldenCase]
) -> CaseResult:
    """Run one case on a session and compare its outputs."""
    golden = golden_case(work, case, store)
    return _compared(work, golden, _run(case, session, golden.inputs))


class Beside(ThreadPoolExecutor):
    """A thread that loads golden cases ahead of the one that runs, and compares those that ran."""

    def __init__(self, behind: int = 0) -> None:
        super().__init__(1)
        self.behind = behind

    def loading(self, work: Work, store: dict[str, GoldenCase]) -> Iterator[Future[GoldenCase]]:
        """Begin to load the first ``AHEAD`` cases of a work, and one more for each that is taken.

        Cases that are completed are left for when they are asked for.
        """
        cases = iter(() if work.complete else work.cases)
        for case in islice(cases, AHEAD):
            self.submit(golden_case, work, case, store)
        return (self.submit(golden_case, work, case, store) for case in cases)

    def __exit__(self, *raised: Any) -> None:
        self.shutdown(cancel_futures=True)


def _results(
    work: Work,
    session: Session,
    store: dict[str, GoldenCase],
    tell: Tell,
    beside: Beside,
    ahead: Iterator[Any],
) -> list[CaseResult]:
    """Every case's result in turn; one that cannot be loaded raises where it is asked for."""
    compared: deque[Future[CaseResult]] = deque()
    results: list[CaseResult] = []

    def settle(left: int) -> None:
        while len(compared) > left:
            results.append(compared.popleft().result())
            tell(work, results[-1])

    for case in [*work.cases, *work.again]:
        tell(work, case)
        next(ahead, None)
        golden = golden_case(work, case, store)
        ran = _run(case, session, golden.inputs)
        compared.append(beside.submit(_compared, work, golden, ran))
        settle(beside.behind)
    settle(0)
    return results


@dataclass(frozen=True)
class _Ran:
    """What came of running a case: outputs in the graph's order, or why there are none."""

    case: Case
    seconds: float
    outputs: Sequence[tuple[str, Array]] = ()
    error: Exception | None = None


def _run(case: Case, session: Session, inputs: Arrays) -> _Ran:
    started = time.perf_counter()
    try:
        outputs = session.run(inputs)
    except Exception as error:
        return _Ran(case, time.perf_counter() - started, error=error)
    return _Ran(case, time.perf_counter() - started, outputs)


def _compared(work: Work, golden: GoldenCase, ran: _Ran) -> CaseResult:
    case, seconds, error = ran.case, ran.seconds, ran.error
    if isinstance(error, StageError):
        return CaseResult(case, _status(error), error.stage, str(error), seconds=seconds)
    if error is not None:
        return CaseResult(case, _status(error), Stage.RUN, one_line(error))
    if reason := compare.structure(work.golden.spec, golden, ran.outputs, work.judged_as):
        return CaseResult(case, Status.FAIL, Stage.COMPARE, reason, seconds=seconds)
    outputs = compare.compare(work.golden.spec, golden, ran.outputs, work.judged_as)
    bad = [output for output in outputs if output.reason]
    reason = f"output {bad[0].name}: {bad[0].reason}" if bad else ""
    status = Status.FAIL if bad else Status.PASS
    return CaseResult(case, status, Stage.COMPARE, reason, outputs, seconds)


def _verdict(cell: Cell, evidence: Mapping[str, Any], cases: tuple[CaseResult, ...]) -> CellResult:
    """A cell fails at the earliest stage at which one of its cases does, unless one is an error.

    Relations decide only where every golden case passes.
    """
    failed = [case for case in cases if case.status is not Status.PASS]
    if not failed:
        return CellResult(cell, Status.PASS, Stage.COMPARE, "", evidence, cases)
    order = list(Stage)
    errors = [case for case in failed if case.status is Status.ERROR]
    worst = errors or [case for case in failed if not case.relation] or failed
    first = min(worst, key=lambda case: order.index(case.stage))
    reason = (
        f"{len(failed)} of {len(cases)} cases; first at {lengths_text(first.case.lengths)},"
        f" batch={first.case.batch}: {first.reason}"
    )
    return CellResult(cell, first.status, first.stage, reason, evidence, cases)
