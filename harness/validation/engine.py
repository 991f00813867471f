"""The one loop: prepare a cell once, run every case on that one session, compare."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core import tolerance
from harness.core.errors import StageError
from harness.core.schema import (
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
from harness.graphs import interface
from harness.linting import linter
from harness.relations import judge
from harness.runtimes import guard
from harness.validation import cases as judging
from harness.validation.job import Tell, Work
from harness.validation.outputs import store as saved
from harness.validation.outputs.recorder import Recorder


def run(
    works: Iterable[Work],
    runtimes: Mapping[str, Runtime],
    tell: Tell = lambda work, event: None,
    trusted: Collection[str] = (),
) -> Iterator[CellResult]:
    """Judge every cell in turn; ``tell`` is told every event of it.

    Runtimes that are ``trusted`` leave the golden's inputs and earlier outputs as they are: cases
    of theirs are compared while later ones run, and have not been told if one of those crashes. The
    others get copies of the inputs.
    """
    store: dict[str, GoldenCase] = {}
    current: Path | None = None
    with judging.Beside(trusted) as beside:
        for work in works:
            if work.golden.folder != current:
                store = {}
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
    work: Work, runtime: Runtime, store: dict[str, GoldenCase], tell: Tell, beside: judging.Beside
) -> CellResult:
    reason = work.unavailable or guard.reason(runtime)
    if reason is not None:
        return CellResult(work.cell, Status.UNAVAILABLE, Stage.LOAD, reason)
    lint: dict[str, Any] = {}
    try:
        if work.failure is not None:
            raise work.failure
        ahead = beside.loading(work, store)
        if work.model is not None:
            tell(work, Stage.CHECK)
            found = linter.of_file(work.model, work.example)
            lint["lint"] = [finding.as_dict() for finding in found]
            _check(work.model, work, found)
        tell(work, Stage.LOAD)
        session = _load(work.model or Path(), work, runtime)
    except StageError as error:
        return CellResult(work.cell, judging.status(error), error.stage, str(error), lint)
    tell(work, Stage.RUN)
    results = judging.results(work, session, store, tell, beside, ahead)
    for name in work.relations:
        assert work.model is not None
        tell(work, name)
        for result in judge.judge(
            name, work.golden, work.cases, work.model, work.judged_as, runtime, session
        ):
            results.append(result)
            tell(work, result)
    told = {"tolerance": tolerance.told(work.judged_as), **lint, **work.evidence}
    try:
        return _verdict(work.cell, {**guard.evidence(session), **told}, tuple(results))
    except StageError as error:
        lost = _verdict(work.cell, {"error": str(error), **told}, tuple(results))
        if lost.status is not Status.PASS:
            return lost
        return replace(lost, status=judging.status(error), stage=Stage.RUN, reason=str(error))


def prepare(
    model: Path, work: Work, runtime: Runtime, found: linter.Findings | None = None
) -> Session:
    """The session of a model file that is valid and what the work's specification says.

    ``found`` is what the lint finds in it, if that is known. CheckError or LoadError, in one line,
    where the file is not valid, has an error among its findings, or cannot be loaded.
    """
    _check(model, work, found)
    return _load(model, work, runtime)


def _check(model: Path, work: Work, found: linter.Findings | None) -> None:
    if work.declared:
        interface.check(interface.read(str(model)), work.golden.spec, work.example)
    linter.refuse(linter.of_file(model, work.example) if found is None else found)


def _load(model: Path, work: Work, runtime: Runtime) -> Session:
    return guard.prepared(runtime, str(work.golden.folder if framework_of(runtime) else model))


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
