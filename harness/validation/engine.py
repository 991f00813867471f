"""The one loop: prepare a cell once, run every case on that one session, compare."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.errors import CheckError, StageError
from harness.core.results import CaseResult, Cell, CellResult, Status
from harness.core.schema import GoldenCase, Session, Stage, lengths_text
from harness.graphs import interface
from harness.linting import linter
from harness.linting.finding import Finding
from harness.relations import judge as relations
from harness.runtimes import decisions
from harness.validation import cases, floor, weights
from harness.validation.job import Failed, Job, Notify, Ready, Unavailable
from harness.validation.known_errors import KnownErrors


def run(
    jobs: Iterable[Job],
    notify: Notify = lambda job, event: None,
    trusted: Collection[str] = (),
) -> Iterator[CellResult]:
    """Judge every cell in turn; ``notify`` is called with every event of it.

    Runtimes that are ``trusted`` leave the golden's inputs and earlier outputs as they are: cases
    of theirs are compared while later ones run, and are not yet reported if one of those crashes.
    The others get copies of the inputs.
    """
    store: dict[str, GoldenCase] = {}
    current: Path | None = None
    with cases.Beside(trusted) as beside:
        for job in jobs:
            if job.golden.folder != current:
                store = {}
                current = job.golden.folder
            started = time.perf_counter()
            result = _judge(job, store, notify, beside)
            yield replace(result, seconds=time.perf_counter() - started, replay=job.replay)


def _judge(
    job: Job, store: dict[str, GoldenCase], notify: Notify, beside: cases.Beside
) -> CellResult:
    match job:
        case Unavailable():
            return CellResult(job.cell, Status.UNAVAILABLE, Stage.LOAD, job.reason)
        case Failed():
            return _failed(job.cell, job.failure)
        case Ready():
            return floor.held(weights.held(_run(job, store, notify, beside)), job.golden)


def _run(
    job: Ready, store: dict[str, GoldenCase], notify: Notify, beside: cases.Beside
) -> CellResult:
    evidence: dict[str, Any] = {}
    try:
        ahead = beside.loading(job, store)
        if job.model is not None:
            notify(job, Stage.CHECK)
            findings = linter.of_file(job.model, job.example)
            evidence["lint"] = [finding.as_dict() for finding in findings]
            _check(job.model, job, findings)
            if account := weights.account(job.model, job):
                wrong = weights.wrong(job.model, job, account)
                evidence["account"] = {
                    **account.evidence(),
                    **({weights.WRONG: wrong} if wrong else {}),
                }
        notify(job, Stage.LOAD)
        session = job.runtime.prepare(str(job.path))
    except StageError as error:
        return _failed(job.cell, error, evidence)
    notify(job, Stage.RUN)
    known = KnownErrors(job)
    results = cases.results(job, session, store, notify, beside, ahead, known)
    left_out: dict[str, str] = {}
    for name in job.relations:
        assert job.model is not None
        notify(job, name)
        subject = (job.golden, job.cases, job.model, known.row, job.runtime, session)
        for result in relations.judge(name, *subject, partial(left_out.__setitem__, name)):
            results.append(result)
            notify(job, result)
    if job.decisions and job.model is not None:
        inputs = (cases.golden_case(job, case, store).inputs for case in job.cases)
        evidence["decisions"] = decisions.over(interface.read(str(job.model)), inputs)
    evidence = {
        "tolerance": job.runtime.row.evidence(),
        **evidence,
        **known.evidence(),
        **job.evidence,
    }
    evidence |= {"relations_left_out": left_out} if left_out else {}
    evidence |= {"padded_steps_left_out": padded} if (padded := cases.left_out(job, store)) else {}
    try:
        return _verdict(job.cell, {**session.evidence(), **evidence}, tuple(results))
    except StageError as error:
        lost = _verdict(job.cell, {"error": str(error), **evidence}, tuple(results))
        if lost.status is not Status.PASS:
            return lost
        return replace(lost, status=cases.status(error), stage=Stage.RUN, reason=str(error))


def prepare(model: Path, job: Ready) -> Session:
    """Return the session of a model file that is valid and declares what the job specifies.

    CheckError or LoadError, in one line, where the file is not valid, has an error among the lint's
    findings or other weights than the golden, or cannot be loaded.
    """
    _check(model, job, linter.of_file(model, job.example))
    account = weights.account(model, job)
    if account and (wrong := weights.wrong(model, job, account)):
        raise CheckError(wrong)
    return job.runtime.prepare(str(job.golden.folder if job.runtime.framework else model))


def _check(model: Path, job: Ready, findings: Sequence[Finding]) -> None:
    if job.declared:
        interface.check(interface.read(str(model)), job.golden.spec, job.example)
    linter.refuse(findings)


def _failed(cell: Cell, error: StageError, evidence: Mapping[str, Any] | None = None) -> CellResult:
    return CellResult(cell, cases.status(error), error.stage, str(error), evidence or {})


def _verdict(
    cell: Cell, evidence: Mapping[str, Any], results: tuple[CaseResult, ...]
) -> CellResult:
    """Fail a cell at the earliest stage at which one of its cases fails; an error comes first.

    Relations decide only where every golden case passes.
    """
    failed = [case for case in results if case.status is not Status.PASS]
    if not failed:
        return CellResult(cell, Status.PASS, Stage.COMPARE, "", evidence, results)
    order = list(Stage)
    errors = [case for case in failed if case.status is Status.ERROR]
    worst = errors or [case for case in failed if not case.relation] or failed
    first = min(worst, key=lambda case: order.index(case.stage))
    reason = (
        f"{len(failed)} of {len(results)} cases; first at {lengths_text(first.case.lengths)},"
        f" batch={first.case.batch}: {first.reason}"
    )
    return CellResult(cell, first.status, first.stage, reason, evidence, results)
