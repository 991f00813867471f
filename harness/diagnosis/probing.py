"""Judging one case at a time, at golden cases and at new ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from harness.core import compare
from harness.core.schema import Arrays, Case, CaseResult, GoldenCase, Runtime, Session, Status
from harness.core.tolerance import output_dtype
from harness.diagnosis.reference import Reference
from harness.validation import cases
from harness.validation.job import Work


@dataclass
class Probe:
    """One session of a work that judges any case that ``reference`` knows; ``tried`` counts."""

    work: Work
    runtime: Runtime
    reference: Reference
    tried: int = 0
    _store: dict[str, GoldenCase] = field(default_factory=dict)
    _known: dict[str, CaseResult] = field(default_factory=dict)

    @cached_property
    def session(self) -> Session:
        """The session that judges cases one after the other; LoadError where there is none."""
        return self.fresh()

    def fresh(self) -> Session:
        """Another session of the same model; LoadError where there is none."""
        return self.runtime.prepare(str(self.work.model))

    def golden(self, case: Case) -> GoldenCase:
        if case.id not in self._store:
            self._store[case.id] = self.reference.case(case)
        return self._store[case.id]

    def judge(self, case: Case, session: Session | None = None) -> CaseResult:
        """How a case is judged, on the one session (once) or on another."""
        if session is not None:
            self.golden(case)
            return cases.judge_case(self.work, case, session, self._store)
        if case.id not in self._known:
            self.golden(case)
            self.tried += 1
            self._known[case.id] = cases.judge_case(self.work, case, self.session, self._store)
        return self._known[case.id]

    def fails(self, case: Case) -> bool:
        """False, too, where nothing is known of the case."""
        try:
            return self.judge(case).status is not Status.PASS
        except KeyError:
            return False

    def departing(self, case: Case, actual: Arrays, expected: Arrays | None = None) -> list[str]:
        """Which outputs do not conform, as the cell's runtime would be judged.

        They are taken in the dtype that is due, so that a float64 evaluation can be judged, too;
        ``expected`` are complete outputs in place of the reference's.
        """
        golden, spec = self.golden(case), self.work.golden.spec
        if expected is not None:
            golden = replace(golden, outputs=expected, steps=None)
        label = self.work.cell.runtime
        given = [
            (t.name, np.asarray(actual[t.name], output_dtype(label, t.dtype)))
            for t in spec.outputs
            if t.name in actual
        ]
        if compare.structure(spec, golden, given, label):
            return [t.name for t in spec.outputs]
        return [o.name for o in compare.compare(spec, golden, given, label) if o.reason]
