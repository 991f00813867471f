"""One failing cell examined: from all its cases to one, from there to one node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.core.errors import StageError, UnavailableError, UsageError
from harness.core.schema import Case, CaseResult, CellResult, Stage, Status
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
from harness.diagnosis.blame import Blame, Fault
from harness.diagnosis.departure import Along
from harness.diagnosis.diagnosis import Diagnosis
from harness.diagnosis.probing import Probe
from harness.graphs import interface
from harness.graphs.view import Net
from harness.validation import engine
from harness.validation.job import Job, Ready

LONG = 256
"""A plot along time shows a failing case of at most so many steps."""
Tell = Callable[[str], None]


def cell(
    job: Job,
    good: Path | None = None,
    tell: Tell = lambda text: None,
    given: bool = False,
    result: CellResult | None = None,
) -> Diagnosis:
    """Judge the cell as validation does, then find where, when and by what it fails.

    ``result`` is how it was judged, where that is known, as by a process that it has ended.
    ``good`` is a graph of the same model that meets the golden, to compare with; where it was
    ``given`` by the user and does not, that is a UsageError. UnavailableError where the cell cannot
    be judged here.
    """
    tell(f"{job.cell.id}: every case")
    if result is None:
        (result,) = engine.run([job])
    if result.status is Status.UNAVAILABLE:
        raise UnavailableError(f"{job.cell.id}: {result.reason}")
    first = Diagnosis(job.cell, result.status, result.stage, result.reason, job.replay)
    if not isinstance(job, Ready):
        return replace(first, why="there is no graph to look into")
    if result.status is Status.PASS:
        return replace(first, judged=[c.case for c in result.cases])
    with TemporaryDirectory() as folder:
        return _Examination(job, good, given, first, tell, Path(folder)).run(result)


class _Examination:
    def __init__(
        self,
        job: Ready,
        good: Path | None,
        given: bool,
        first: Diagnosis,
        tell: Tell,
        folder: Path,
    ) -> None:
        assert job.model is not None
        self.job, self.runtime, self.known = job, job.runtime, first
        self.tell, self.folder, self.given = tell, folder, given
        self.notes: list[str] = []
        self.net = Net(interface.read(str(job.model)))
        self.good = None if good is None else Net(interface.read(str(good)))

    def run(self, result: CellResult) -> Diagnosis:
        self.probe = Probe(self.job, reference.of(self.job.golden))
        if result.status is Status.ERROR:
            return self._ended_process(result)
        try:
            self.probe.session.evidence()
        except StageError as error:
            return self._unloadable(error)
        results = result.cases or tuple(self._judged())
        failing = [r for r in results if r.status is not Status.PASS and not r.case.repeat]
        if not failing and not any(r.status is not Status.PASS for r in results):
            self.known = replace(self.known, judged=[r.case for r in results])
            self._declared("every case computes what it should; what the graph declares is refused")
            return self._ended(self.known, results)
        self.known = replace(
            self.known,
            judged=[r.case for r in results if not r.case.repeat],
            failing=[r.case for r in failing],
        )
        alone = history.alone(sorted(self.known.failing, key=shortest.size), self.probe)
        if alone is None:
            return self._ended(self._history(results), results)
        self._choose_good(alone)
        self.tell("the shortest failing case")
        genuine = [c for c in self.known.failing if shortest.size(c) >= shortest.size(alone)]
        found = shortest.search(genuine, self.probe)
        self.known = replace(self.known, shortest=found, reference=self.probe.reference.told)
        self._along(found.case)
        self._blame(found.case)
        return self._ended(self.known, results)

    def _judged(self) -> list[CaseResult]:
        """Every case, where a check has refused the graph before any ran."""
        session = self.probe.fresh()
        return [self.probe.judge(case, session) for case in self.job.cases]

    def _ended_process(self, result: CellResult) -> Diagnosis:
        """The runtime cannot be asked again: what the graph tells is looked at alone."""
        self.known = replace(self.known, judged=[r.case for r in result.cases], fault="runtime")
        lost = [r.case for r in result.cases if r.status is Status.ERROR]
        if not lost:
            return replace(self.known, why=f"it ends its process: {result.reason}")
        case = replace(lost[0], repeat=False)
        told = "the first case, in the order of the cases, that ended the runtime's process"
        self.known = replace(self.known, failing=lost, shortest=shortest.Shortest(case, told))
        self._choose_good(case)
        self._blame(case)
        why = f"{self.known.why}; the runtime was not asked again, since it ends its process"
        found = next(examples.whole(self.known, self.probe, self.net))
        return replace(self.known, why=why, example=found, notes=tuple(self.notes))

    def _history(self, results: tuple[CaseResult, ...]) -> Diagnosis:
        """No case fails alone: which one must run before which."""
        bad = next(r for r in results if r.status is not Status.PASS)
        before = [r.case for r in results[: results.index(bad)]]
        case = replace(bad.case, repeat=False)
        known = replace(
            self.known,
            shortest=shortest.Shortest(case, "the first case that fails in the order of the cases"),
            fault="session",
            why="no case fails on a session of its own: what a session ran before changes it",
        )
        found = history.earlier(case, before, self.probe)
        if found is not None:
            self.known = replace(self.known, at=self._one_along(case, found))
        else:
            self.notes.append(f"no single earlier case makes it fail; {len(before)} ran before")
        return replace(known, after=found)

    def _choose_good(self, case: Case) -> None:
        """Keep the good graph if it is good, and derive complete outputs by a right graph."""
        if self.good is not None and not self._is_right(self.good, case):
            told = f"the graph to compare with departs from the golden, too, at {case.id}"
            if self.given:
                raise UsageError(f"--against: {told}")
            self.notes.append(told)
            self.good = None
        if self.probe.reference.complete is None:
            net, called = (self.good, "the good graph") if self.good else (None, "")
            if net is None and self._is_right(self.net, case):
                net, called = self.net, "the model file, which meets the golden,"
            if net is not None:
                complete = reference.by_graph(self.job.golden, net, called)
                self.probe = Probe(self.job, complete)

    def _is_right(self, net: Net, case: Case) -> bool:
        """Whether a graph in float64 gives what is expected of a case."""
        try:
            held, failed = values.Exact(net).all(self.probe.golden(case).inputs)
        except Exception:
            return False
        return failed is None and not self.probe.departing(case, held)

    def _along(self, case: Case) -> None:
        """The departure along time, at the shortest case and at a longer one."""
        longer = [c for c in self.known.failing if c.longest <= LONG]
        long = max(longer, key=lambda c: c.longest, default=case)
        self.known = replace(self.known, at=self._one_along(case), along=self._one_along(long))

    def _one_along(self, case: Case, before: Case | None = None) -> Along | None:
        golden, session = self.probe.golden(case), self.probe.fresh()
        try:
            if before is not None:
                session.run(self.probe.golden(before).inputs)
            actual = session.run(golden.inputs)
        except StageError:
            return None
        spec, row = self.job.golden.spec, self.job.runtime.row
        found = departure.along(spec, golden, actual, row)
        if found and departure.only_padded(found[0], golden, dict(actual)[found[0].output], spec):
            self.notes.append(f"at {case.id} only padded steps depart")
        return found[0] if found else None

    def _blame(self, case: Case) -> None:
        """Whether the graph is wrong or the runtime, and the first node that is."""
        self.tell("the first node that departs")
        inputs = self.probe.golden(case).inputs
        try:
            held, failed = values.Exact(self.net).all(inputs)
        except Exception as error:
            why = f"the graph cannot be evaluated in float64: {error}"
            self.known = replace(self.known, why=why)
            return
        departing = [] if failed else self.probe.departing(case, held)
        missing = set(self.net.outputs) ^ {t.name for t in self.job.golden.spec.outputs}
        if missing and self.known.stage is Stage.CHECK:
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
        outputs = departing or list(self.net.outputs)
        good = self.good
        if good is None:
            told = "there is no good graph to compare nodes with (--against GOOD.onnx)"
            if found := guesses.mended(self.known, self.probe, self.net):
                told += "; they are compared with this one, one known mistake in it undone"
                good = Net(found[0].model)
            self.notes.append(told)
        if good is not None:
            blame = wrong_graph.first(self.net, good, outputs, golden.inputs)
        if failed and (blame is None or not blame.certain):
            label = self.net.label(failed.node)
            words = f"it fails in float64: {failed.reason}; which node before it is wrong is open"
            blame = Blame(
                failed.node,
                label,
                "",
                float("inf"),
                1.0,
                words,
                nodes=(failed.node,),
                certain=False,
            )
        self.known = replace(self.known, fault="graph", why=why, blame=blame)

    def _declared(self, why: str) -> None:
        """The numbers are right; the names, types or shapes that the graph declares are not."""
        blame = None if self.good is None else wrong_graph.interface(self.net, self.good)
        self.known = replace(self.known, fault="graph", why=why, blame=blame)

    def _wrong_runtime(self, case: Case) -> None:
        if self.known.status is Status.ERROR:
            why = "evaluated in float64, the graph meets what is expected: the runtime is wrong"
            self.known = replace(self.known, fault="runtime", why=why)
            return
        if self.known.stage is Stage.CHECK and not self.probe.judge(case).outputs:
            self._declared("the values are right; what the graph declares is not")
            return
        why = "evaluated in float64, the graph meets what is expected: the runtime departs from it"
        self.known = replace(self.known, fault="runtime", why=why)
        inputs = self.probe.golden(case).inputs
        judged = self.probe.judge(case)
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
                self.known = replace(self.known, blame=cause)
            return
        wrong = [o.name for o in judged.outputs if o.reason]
        blame, notes = search.first(wrong or self.net.outputs)
        self.notes += notes
        self.known = replace(self.known, blame=blame)

    def _unloadable(self, error: StageError) -> Diagnosis:
        failed = values.runs_up_to(self.net, self.runtime, None, self.folder)
        blame = None if failed is None else wrong_runtime.refused(self.net, failed)
        known = replace(self.known, why=f"the runtime does not load it: {error}", blame=blame)
        shortest_one = min(self.job.cases, key=shortest.size)
        fault: Fault = "runtime" if self._is_right(self.net, shortest_one) else "unknown"
        example = examples.unloadable(self.net, failed, str(error), self.runtime, self.folder)
        return replace(known, fault=fault, example=example, notes=self.notes)

    def _ended(self, known: Diagnosis, results: tuple[CaseResult, ...]) -> Diagnosis:
        self.tell("what it looks like")
        known = replace(known, at=self.known.at, along=self.known.along)
        told = guesses.of(known, self.job, self.probe, self.net, self.good, results)
        known = replace(known, guesses=told, notes=tuple(dict.fromkeys(self.notes)))
        if known.shortest is None:
            return known
        self.tell("what reproduces it")
        found = examples.smallest(known, self.probe, self.net, self.folder)
        return replace(known, example=found)
