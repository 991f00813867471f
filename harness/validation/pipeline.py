"""The validate phase: subjects and selectors to works, works to a report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.core import environment, expectations, selectors, tolerance
from harness.core.errors import UnavailableError, UsageError
from harness.core.schema import (
    CaseResult,
    Cell,
    CellResult,
    Progress,
    Report,
    Runtime,
    Stage,
    framework_of,
)
from harness.core.summary import BAD
from harness.goldens.store import Golden
from harness.relations import RELATIONS
from harness.runtimes import RUNTIMES, guard, load
from harness.runtimes.settings import Settings
from harness.subjects.resolve import is_path
from harness.validation import plan
from harness.validation.isolation import workers
from harness.validation.isolation.workers import Isolation
from harness.validation.job import Complete, Event, Work
from harness.validation.outputs import save_and_load
from harness.validation.selection import Selection
from reference_models import catalog, every_step

EXPECTATIONS = Path(catalog.__file__).with_name("expectations.toml")


@dataclass
class Prepared:
    """The works of a selection, the runtimes they run on, and what is expected to fail.

    ``rows`` hold for reference models, the user's ``own`` for every cell.
    """

    works: list[Work]
    runtimes: Mapping[str, Runtime]
    rows: list[expectations.Expectation] = field(default_factory=list)
    own: list[expectations.Expectation] = field(default_factory=list)
    partial: bool = False
    settings: Settings = field(default_factory=Settings)


def prepare(selection: Selection, progress: Progress) -> Prepared:
    """Resolve the selection, export what is missing, and lay out the works.

    UsageError for a name or number that selects nothing, NothingSelectedError where no cell is
    left, UnavailableError where a required runtime is not available here.
    """
    runtimes = _runtimes(selection)
    relations = selectors.names("relation", selection.relations, RELATIONS)
    files, named = _subjects(selection)
    found = [plan.from_path(path, selection, runtimes) for path in files]
    flat = [work for group in found for work in group]
    if named:
        flat += plan.from_catalog(named, selection, runtimes, progress)
    if selection.every_step:
        whole = {work.golden.folder: _every_step(work.golden) for work in flat}
        flat = [replace(work, complete=whole[work.golden.folder]) for work in flat]
    if relations:
        flag = f" --relation {','.join(relations)}"
        flat = [
            w
            if framework_of(runtimes[w.cell.runtime])
            else replace(w, relations=relations, replay=w.replay + flag)
            for w in flat
        ]
    if folder := selection.load_outputs:
        flat = [save_and_load.loaded(work, folder) for work in flat]
    else:
        tf32 = {name: getattr(runtime, "tf32", False) for name, runtime in runtimes.items()}
        rows_of = {name: tolerance.row(name, on) for name, on in tf32.items()}
        flat = [replace(work, row=rows_of[work.cell.runtime]) for work in flat]
    if folder := selection.save_outputs:
        flat = save_and_load.kept(flat, folder, environment.machine(), selection.settings.flags)
    partial = bool(selection.lengths or selection.batch)
    rows, own = expectations.load(EXPECTATIONS), []
    if file := selection.expectations:
        own = expectations.load(file)
        flag = f" --expectations {shlex.quote(str(file))}"
        flat = [replace(work, replay=work.replay + flag) for work in flat]
    return Prepared(flat, runtimes, rows, own, partial, selection.settings)


def cells(selection: Selection) -> list[Cell]:
    """The cells that ``prepare`` would lay out, with its errors; nothing is exported for it."""
    runtimes = _runtimes(selection)
    files, named = _subjects(selection)
    found = [work.cell for path in files for work in plan.from_path(path, selection, runtimes)]
    if named:
        found += [cell for cell, _, _ in plan.planned(named, selection, runtimes)]
    return found


def _subjects(selection: Selection) -> tuple[list[Path], list[str]]:
    """Files and folders apart from names; every model of ours where there is neither."""
    files = [subject for subject in selection.subjects if is_path(subject)]
    named = [subject for subject in selection.subjects if subject not in files]
    return [Path(file) for file in files], named if named or files else list(catalog.OURS)


def judge(
    prepared: Prepared,
    command: str,
    done: Callable[[CellResult], None],
    step: Callable[[Work], None],
    fail_fast: bool = False,
    isolation: Isolation | None = None,
) -> Report:
    """Run every work; ``done`` gets each result in turn, ``step`` is called for each case and each
    relation.
    """

    def tell(work: Work, event: Event) -> None:
        judged = isinstance(event, CaseResult) and not event.relation
        if judged or (isinstance(event, str) and not isinstance(event, Stage)):
            step(work)

    asked, results = prepared.works, []
    how = isolation or Isolation()
    running = workers.run(asked, prepared.runtimes, prepared.settings, how, tell)
    with closing(running) as judged:
        for work, raw in zip(asked, judged, strict=False):
            rows = [*prepared.own, *(prepared.rows if work.expected else ())]
            told = save_and_load.finished(work, raw, prepared.runtimes)
            result = expectations.judge(told, rows, prepared.partial)
            results.append(result)
            done(result)
            if fail_fast and result.status in BAD:
                break
    return Report(command, environment.machine(), tuple(results), len(results) < len(asked))


def without_a_case(prepared: Prepared, report: Report) -> list[str]:
    """The relations that were asked for and compared nothing in any of the cells that ran."""
    ran = [w for w, r in zip(prepared.works, report.results, strict=False) if r.cases]
    asked = dict.fromkeys(name for work in ran for name in work.relations)
    tried = {case.relation for result in report.results for case in result.cases}
    return [name for name in asked if name not in tried]


def unmatched(prepared: Prepared) -> list[str]:
    """The cells of the user's own expectations that are none of the run's: misspelt or left out."""
    ids = [work.cell.id for work in prepared.works]
    return [row.cell for row in expectations.unused(prepared.own, ids)]


def _every_step(source: Golden) -> Complete:
    complete: Complete | None = every_step.of(source)
    if complete is None:
        raise UsageError(f"--every-step: {source.spec.name} has no oracle here to derive steps by")
    return complete


def _runtimes(selection: Selection) -> dict[str, Runtime]:
    if selection.load_outputs:
        return save_and_load.runtimes(selection, selection.load_outputs)
    required = selectors.names("runtime", selection.require, RUNTIMES)
    chosen = selectors.names("runtime", selection.runtimes, RUNTIMES)
    if not selection.runtimes:
        if not required and (reason := guard.reason(load("ort-cpu"))):
            raise UnavailableError(f"there is no runtime to judge in: {reason}")
        cuda = guard.reason(load("ort-cuda")) is None
        chosen = ["ort-cpu", "ort-cuda"] if cuda else ["ort-cpu"]
    chosen = list(dict.fromkeys([*chosen, *required]))
    runtimes: dict[str, Runtime] = {name: load(name) for name in chosen}
    runtimes = {name: selection.settings.on(name, runtime) for name, runtime in runtimes.items()}
    for name in required:
        if reason := guard.reason(runtimes[name]):
            raise UnavailableError(f"runtime {name} is required and not available: {reason}")
    return runtimes
