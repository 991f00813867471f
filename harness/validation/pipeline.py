"""The validate phase: subjects and selectors to jobs, jobs to a report."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import runtimes
from harness.core import environment, expectations, selectors
from harness.core.errors import UnavailableError, UsageError
from harness.core.results import CaseResult, Cell, CellResult, Report
from harness.core.schema import Progress, Stage
from harness.core.summary import BAD
from harness.goldens.store import Golden
from harness.processes import limits
from harness.relations import RELATIONS
from harness.runtimes import RUNTIMES, versions
from harness.subjects.resolve import EXPORTED, Kind, Subject, resolve
from harness.validation import from_catalog, from_path, plan
from harness.validation.isolation import workers
from harness.validation.isolation.workers import Isolation
from harness.validation.job import Complete, Event, Job, Ready, Unavailable
from harness.validation.outputs import wrapping
from harness.validation.plan import Runtimes
from harness.validation.selection import Selection
from reference_models import catalog, every_step

EXPECTATIONS = Path(catalog.__file__).with_name("expectations.toml")


@dataclass
class Prepared:
    """Everything that is needed to run a selection.

    ``rows`` are the expectations of reference models, ``own`` those of the user for any cell.
    ``partial`` is set where golden cases were left out: such a run knows less of a cell.
    """

    jobs: list[Job]
    rows: list[expectations.Expectation] = field(default_factory=list)
    own: list[expectations.Expectation] = field(default_factory=list)
    partial: bool = False


def prepare(selection: Selection, progress: Progress) -> Prepared:
    """Resolve the selection, export what is missing, and lay out the jobs.

    UsageError for a name or number that selects nothing, NothingSelectedError where no cell is
    left, UnavailableError where a required runtime is not available here.
    """
    chosen = selected_runtimes(selection)
    relations = selectors.names("relation", selection.relations, RELATIONS)
    files, named = _subjects(selection)
    cells = [cell for file in files for cell in from_path.cells(file, selection, chosen)]
    if named:
        cells += from_catalog.exported(named, selection, chosen, progress)
    place = None
    if root := selection.save_outputs:
        recorded = {"environment": machine(), "settings": selection.settings.flags.strip()}
        place = wrapping.place((selected.cell for selected in cells), root, recorded)
    jobs = [plan.job(selected, chosen[selected.cell.runtime], place) for selected in cells]
    if selection.every_step:
        complete = {job.golden.folder: _every_step(job.golden) for job in jobs}
        jobs = [
            replace(job, complete=complete[job.golden.folder]) if isinstance(job, Ready) else job
            for job in jobs
        ]
    if selection.decisions:
        jobs = [replace(job, decisions=True) if isinstance(job, Ready) else job for job in jobs]
    if relations:
        jobs = [_related(job, relations) for job in jobs]
    if root := selection.load_outputs:
        flag = shlex.join(["--load-outputs", str(root)])
        jobs = [replace(job, replay=f"{job.replay} {flag}") for job in jobs]
    partial = bool(selection.lengths or selection.batch)
    rows, own = expectations.load(EXPECTATIONS), []
    if file := selection.expectations:
        own = expectations.load(file)
        flag = f" --expectations {shlex.quote(str(file))}"
        jobs = [replace(job, replay=job.replay + flag) for job in jobs]
    return Prepared(jobs, rows, own, partial)


def cells(selection: Selection) -> list[Cell]:
    """Return the cells that ``prepare`` would lay out, with its errors; nothing is exported."""
    chosen = selected_runtimes(selection)
    files, named = _subjects(selection)
    selected = [
        selected_cell.cell
        for file in files
        for selected_cell in from_path.cells(file, selection, chosen)
    ]
    if named:
        selected += [cell for cell, _, _ in from_catalog.planned(named, selection, chosen)]
    return selected


def judge(
    prepared: Prepared,
    command: str,
    done: Callable[[CellResult], None],
    step: Callable[[Ready], None],
    fail_fast: bool = False,
    isolation: Isolation | None = None,
) -> Report:
    """Run every job; ``done`` gets each result in turn, ``step`` each case and each relation."""

    def notify(job: Ready, event: Event) -> None:
        judged = isinstance(event, CaseResult) and not event.relation
        if judged or (isinstance(event, str) and not isinstance(event, Stage)):
            step(job)

    jobs, results = prepared.jobs, []
    running = workers.run(jobs, isolation or Isolation(), notify)
    with closing(running) as judged:
        for job, raw in zip(jobs, judged, strict=False):
            rows = [*prepared.own, *(prepared.rows if job.ours else ())]
            finished = wrapping.finished(job, raw)
            if not isinstance(job, Unavailable):
                golden = job.golden.manifest["sha256"]
                finished = replace(finished, evidence={**finished.evidence, "golden": golden})
            result = expectations.judge(finished, rows, prepared.partial)
            results.append(result)
            done(result)
            if fail_fast and result.status in BAD:
                break
    return Report(command, machine(), tuple(results), len(results) < len(jobs))


def counted(prepared: Prepared, progress: Progress, word: str) -> Callable[[Ready], None]:
    """Return a ``step`` for ``judge`` that tells a cell, ``word``, and how many cases are done.

    A relation counts as a case.
    """
    ready = [job for job in prepared.jobs if isinstance(job, Ready)]
    total = sum(len(job.cases) + len(job.again) + len(job.relations) for job in ready)
    done = 0

    def step(job: Ready) -> None:
        nonlocal done
        done += 1
        progress(f"{job.cell.id}: {word}, case {done}/{total}")

    return step


def machine() -> dict[str, str | int]:
    """Return the machine, the libraries on it, and the limit that it cannot keep, if any."""
    described = environment.machine(runtimes.distributions())
    return {**described, "not_limited": limits.not_kept()} if limits.not_kept() else described


def without_a_case(prepared: Prepared, report: Report) -> dict[str, str]:
    """Return the selected relations that compared nothing in any of the cells that ran, and why.

    The reason is the first cell's; empty where the relation applies, to none of the cases.
    """
    ran = [job for job, r in zip(prepared.jobs, report.results, strict=False) if r.cases]
    why: dict[str, str] = {}
    for result in reversed(report.results):
        why |= result.evidence.get("relations_left_out", {})
    requested = dict.fromkeys(
        name for job in ran if isinstance(job, Ready) for name in job.relations
    )
    tried = {case.relation for result in report.results for case in result.cases}
    return {name: why.get(name, "") for name in requested if name not in tried}


def _subjects(selection: Selection) -> tuple[list[Subject], list[str]]:
    """Return files and folders, and names; every reference model of ours where there is neither."""
    subjects = [resolve(text, EXPORTED) for text in selection.subjects]
    files = [subject for subject in subjects if subject.kind is not Kind.REFERENCE]
    named = [subject.place for subject in subjects if subject.kind is Kind.REFERENCE]
    return files, named if subjects else list(catalog.OURS)


def _related(job: Job, relations: list[str]) -> Job:
    """Return the job with relations to try; a framework's runs are not related."""
    if not isinstance(job, Ready) or job.runtime.framework:
        return job
    replay = f"{job.replay} --relation {','.join(relations)}"
    return replace(job, relations=relations, replay=replay)


def unmatched(prepared: Prepared) -> list[str]:
    """Return the cells of the user's expectations that are none of the run's, such as misspelt."""
    ids = [job.cell.id for job in prepared.jobs]
    return [row.cell for row in expectations.unused(prepared.own, ids)]


def _every_step(source: Golden) -> Complete | None:
    """Return what derives every step; None where the golden has them, if only by projection."""
    if source.has_every_step and not source.has_weights:
        return None
    complete: Complete | None = every_step.of(source)
    if complete is None:
        raise UsageError(f"--every-step: {source.spec.name} has no oracle here to derive steps by")
    return complete


def selected_runtimes(selection: Selection) -> Runtimes:
    """Return the runtimes of a selection by name; UnavailableError where a required one is not."""
    if selection.load_outputs:
        return wrapping.stand_ins(selection, selection.load_outputs)
    required = selectors.names("runtime", selection.require, RUNTIMES)
    chosen = selectors.names("runtime", selection.runtimes, RUNTIMES)
    at_versions = [
        versions.load(one, selection.settings) for one in versions.parse(selection.versions)
    ]
    if not selection.runtimes and at_versions:
        chosen = []
    elif not selection.runtimes:
        if not required and (reason := runtimes.load("ort-cpu").check()):
            raise UnavailableError(f"there is no runtime to judge in: {reason}")
        cuda = runtimes.load("ort-cuda").check() is None
        chosen = ["ort-cpu", "ort-cuda"] if cuda else ["ort-cpu"]
    names = dict.fromkeys([*chosen, *required])
    loaded = {name: runtimes.load(name, selection.settings) for name in names}
    for name in required:
        if reason := loaded[name].check():
            raise UnavailableError(f"runtime {name} is required and not available: {reason}")
    return {**loaded, **{runtime.name: runtime for runtime in at_versions}}
