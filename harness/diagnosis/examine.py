"""One failing cell examined: from all its cases to one, from there to one node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.errors import StageError, UnavailableError, UsageError
from harness.core.results import CaseResult, CellResult, Status
from harness.core.schema import Case, Progress, Stage
from harness.core.temporary import temporary_folder
from harness.diagnosis import (
    departure,
    examples,
    guesses,
    history,
    reference,
    shortest,
    values,
    wrong_graph,
    wrong_runtime,
)
from harness.diagnosis.blame import Blame
from harness.diagnosis.departure import Along
from harness.diagnosis.diagnosis import Diagnosis
from harness.diagnosis.probing import Probe
from harness.graphs import interface
from harness.graphs.view import Net
from harness.validation import engine
from harness.validation.job import Job, Ready

LONG = 256
"""A plot along time shows a failing case of at most so many steps."""


def cell(
    job: Job,
    good: Path | None = None,
    progress: Progress = lambda text: None,
    by_user: bool = False,
    result: CellResult | None = None,
) -> Diagnosis:
    """Judge the cell as validation does, then find where, when and by what it fails.

    ``result`` is the cell's, where it was judged already, as in a child process that it ended.
    ``good`` is a graph of the same model that meets the golden, to compare with; one that does not
    is a UsageError where it is given ``by_user``. UnavailableError where the cell cannot be judged
    here.
    """
    progress(f"{job.cell.id}: every case")
    if result is None:
        (result,) = engine.run([job])
    if result.status is Status.UNAVAILABLE:
        raise UnavailableError(f"{job.cell.id}: {result.reason}")
    first = Diagnosis(job.cell, result.status, result.stage, result.reason, job.replay)
    if not isinstance(job, Ready):
        return replace(first, why="there is no graph to look into")
    if result.status is Status.PASS:
        return replace(first, judged=[c.case for c in result.cases])
    with temporary_folder() as folder:
        return _Examination(job, good, by_user, first, progress, folder).run(result)


class _Examination:
    def __init__(
        self,
        job: Ready,
        good: Path | None,
        by_user: bool,
        first: Diagnosis,
        progress: Progress,
        folder: Path,
    ) -> None:
        assert job.model is not None
        self.job, self.runtime, self.diagnosis = job, job.runtime, first
        self.progress, self.folder, self.by_user = progress, folder, by_user
        self.notes: list[str] = []
        self.net = Net(interface.read(str(job.model)))
        self.good = None if good is None else Net(interface.read(str(good)))
        self.probe = Probe(job, reference.of(job.golden))

    def run(self, result: CellResult) -> Diagnosis:
        if result.status is Status.ERROR:
            return self._lost_process(result)
        try:
            self.probe.session.evidence()
        except StageError as error:
            return self._unloadable(error)
        results = tuple(result.cases or self._judged())
        bad = [r.case for r in results if r.status is not Status.PASS]
        if not bad:
            self._set(judged=[r.case for r in results])
            self._declared("every case computes what it should; what the graph declares is refused")
            return self._finished(results)
        failing = [case for case in bad if not case.repeat]
        self._set(judged=[r.case for r in results if not r.case.repeat], failing=failing)
        alone = history.alone(sorted(failing, key=shortest.size), self.probe)
        if alone is None:
            self._history(results)
            return self._finished(results)
        self._choose_good(alone)
        self.progress("the shortest failing case")
        genuine = [case for case in failing if shortest.size(case) >= shortest.size(alone)]
        smallest = shortest.search(genuine, self.probe)
        self._set(shortest=smallest, reference=self.probe.reference.source)
        self._along(smallest.case)
        self._blame(smallest.case)
        return self._finished(results)

    def _set(self, **fields: Any) -> None:
        self.diagnosis = replace(self.diagnosis, **fields)

    def _judged(self) -> list[CaseResult]:
        """Judge every case, where a check has refused the graph before any ran."""
        session = self.probe.fresh()
        return [self.probe.judge(case, session) for case in self.job.cases]

    def _lost_process(self, result: CellResult) -> Diagnosis:
        """Look at the graph alone: the runtime, which ends its process, cannot run again."""
        self._set(judged=[r.case for r in result.cases], fault="runtime")
        lost = [r.case for r in result.cases if r.status is Status.ERROR]
        if not lost:
            self._set(why=f"it ends its process: {result.reason}")
            return self.diagnosis
        case = replace(lost[0], repeat=False)
        how = "the first case, in the order of the cases, that ended the runtime's process"
        self._set(failing=lost, shortest=shortest.Shortest(case, how))
        self._choose_good(case)
        self._blame(case)
        why = f"{self.diagnosis.why}; the runtime was not asked again, since it ends its process"
        example = examples.whole(self.diagnosis, self.probe, self.net)
        self._set(why=why, example=example, notes=tuple(self.notes))
        return self.diagnosis

    def _history(self, results: tuple[CaseResult, ...]) -> None:
        """Find which case must run before another for that to fail, where none fails alone."""
        bad = next(r for r in results if r.status is not Status.PASS)
        before = [r.case for r in results[: results.index(bad)]]
        case = replace(bad.case, repeat=False)
        self._set(
            shortest=shortest.Shortest(case, "the first case that fails in the order of the cases"),
            fault="session",
            why="no case fails on a session of its own: what a session ran before changes it",
        )
        earlier = history.earlier(case, before, self.probe)
        if earlier is None:
            self.notes.append(f"no single earlier case makes it fail; {len(before)} ran before")
        else:
            self._set(after=earlier, at=self._one_along(case, earlier))

    def _choose_good(self, case: Case) -> None:
        """Keep the good graph if it is good, and derive complete outputs by a right graph."""
        if self.good is not None and not self._is_right(self.good, case):
            problem = f"the graph to compare with departs from the golden, too, at {case.id}"
            if self.by_user:
                raise UsageError(f"--against: {problem}")
            self.notes.append(problem)
            self.good = None
        if self.probe.reference.complete is None:
            net, name = (self.good, "the good graph") if self.good else (None, "")
            if net is None and self._is_right(self.net, case):
                net, name = self.net, "the model file, which meets the golden,"
            if net is not None:
                complete = reference.by_graph(self.job.golden, net, name)
                self.probe = Probe(self.job, complete)

    def _is_right(self, net: Net, case: Case) -> bool:
        """Return whether a graph meets the golden at a case, evaluated in float64."""
        try:
            tensors, failed = values.Exact(net).all(self.probe.golden(case).inputs)
        except Exception:
            return False
        return failed is None and not self.probe.departing(case, tensors)

    def _along(self, case: Case) -> None:
        """Find the departure along time, at the shortest case and at a longer one."""
        longer = [c for c in self.diagnosis.failing if c.longest <= LONG]
        long = max(longer, key=lambda c: c.longest, default=case)
        self._set(at=self._one_along(case), along=self._one_along(long))

    def _one_along(self, case: Case, before: Case | None = None) -> Along | None:
        golden, session = self.probe.golden(case), self.probe.fresh()
        try:
            if before is not None:
                session.run(self.probe.golden(before).inputs)
            actual = session.run(golden.inputs)
        except StageError:
            return None
        spec, row = self.job.golden.spec, self.job.runtime.row
        first = next(iter(departure.along(spec, golden, actual, row)), None)
        if first and departure.only_padded(first, golden, dict(actual)[first.output], spec):
            self.notes.append(f"at {case.id} only padded steps depart")
        return first

    def _blame(self, case: Case) -> None:
        """Decide whether the graph is wrong or the runtime, and find the first node that is."""
        self.progress("the first node that departs")
        try:
            tensors, failed = values.Exact(self.net).all(self.probe.golden(case).inputs)
        except Exception as error:
            self._set(why=f"the graph cannot be evaluated in float64: {error}")
            return
        departing = [] if failed else self.probe.departing(case, tensors)
        missing = set(self.net.outputs) ^ {t.name for t in self.job.golden.spec.outputs}
        if missing and self.diagnosis.stage is Stage.CHECK:
            self._declared("its outputs are not the ones that are expected")
        elif failed or departing:
            self._wrong_graph(case, failed, departing)
        else:
            self._wrong_runtime(case)

    def _wrong_graph(self, case: Case, failed: values.Failure | None, departing: list[str]) -> None:
        golden = self.probe.golden(case)
        why = "evaluated in float64, the graph itself departs from what is expected"
        if failed:
            why = f"evaluated in float64, the graph fails at {self.net.label(failed.node)}"
        blame: Blame | None = None
        good = self.good
        if good is None:
            note = "there is no good graph to compare nodes with (--against GOOD.onnx)"
            if undone := guesses.mended(self.diagnosis, self.probe, self.net):
                note += "; they are compared with this one, one known mistake in it undone"
                good = Net(undone[0].model)
            self.notes.append(note)
        if good is not None:
            outputs = departing or list(self.net.outputs)
            blame = wrong_graph.first(self.net, good, outputs, golden.inputs)
        if failed and (blame is None or not blame.certain):
            words = f"it fails in float64: {failed.reason}; which node before it is wrong is open"
            blame = Blame.of(self.net, failed.node, words, tensor="", certain=False)
        self._set(fault="graph", why=why, blame=blame)

    def _declared(self, why: str) -> None:
        """Blame what the graph declares, names, types or shapes: its numbers are right."""
        blame = None if self.good is None else wrong_graph.interface(self.net, self.good)
        self._set(fault="graph", why=why, blame=blame)

    def _wrong_runtime(self, case: Case) -> None:
        meets = "evaluated in float64, the graph meets what is expected"
        if self.diagnosis.status is Status.ERROR:
            self._set(fault="runtime", why=f"{meets}: the runtime is wrong")
            return
        judged = self.probe.judge(case)
        if self.diagnosis.stage is Stage.CHECK and not judged.outputs:
            self._declared("the values are right; what the graph declares is not")
            return
        self._set(fault="runtime", why=f"{meets}: the runtime departs from it")
        inputs = self.probe.golden(case).inputs
        search = wrong_runtime.Search(
            self.net,
            self.runtime,
            inputs,
            lambda outputs: bool(self.probe.departing(case, outputs)),
            self.folder,
        )
        if judged.stage in (Stage.LOAD, Stage.RUN):
            failed = values.runs_up_to(self.net, self.runtime, inputs, self.folder)
            if failed is not None:
                cause = search.before(failed) or wrong_runtime.refused(self.net, failed)
                self._set(blame=cause)
            return
        wrong = [o.name for o in judged.outputs if o.reason]
        blame, notes = search.first(wrong or self.net.outputs)
        self.notes += notes
        self._set(blame=blame)

    def _unloadable(self, error: StageError) -> Diagnosis:
        failed = values.runs_up_to(self.net, self.runtime, None, self.folder)
        right = self._is_right(self.net, min(self.job.cases, key=shortest.size))
        self._set(
            why=f"the runtime does not load it: {error}",
            blame=None if failed is None else wrong_runtime.refused(self.net, failed),
            fault="runtime" if right else "unknown",
            example=examples.unloadable(self.net, failed, str(error), self.runtime, self.folder),
            notes=self.notes,
        )
        return self.diagnosis

    def _finished(self, results: tuple[CaseResult, ...]) -> Diagnosis:
        self.progress("what it looks like")
        fitting = guesses.of(self.diagnosis, self.job, self.probe, self.net, self.good, results)
        self._set(guesses=fitting, notes=tuple(dict.fromkeys(self.notes)))
        if self.diagnosis.shortest is not None:
            self.progress("what reproduces it")
            example = examples.smallest(self.diagnosis, self.probe, self.net, self.folder)
            self._set(example=example)
        return self.diagnosis
