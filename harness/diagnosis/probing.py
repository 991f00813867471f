"""Judging one case at a time, at golden cases and at new ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from harness.core import compare
from harness.core.schema import Arrays, Case, CaseResult, GoldenCase, Session, Status
from harness.core.tolerance import output_dtype
from harness.diagnosis.reference import Reference
from harness.validation import cases
from harness.validation.job import Ready


@dataclass
class Probe:
    """One session of a job that judges any case that ``reference`` knows; ``tried`` counts."""

    job: Ready
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
        return self.job.runtime.prepare(str(self.job.model))

    def golden(self, case: Case) -> GoldenCase:
        if case.id not in self._store:
            self._store[case.id] = self.reference.case(case)
        return self._store[case.id]

    def judge(self, case: Case, session: Session | None = None) -> CaseResult:
        """How a case is judged, on the one session (once) or on another."""
        if session is not None:
            self.golden(case)
            return cases.judge_case(self.job, case, session, self._store)
        if case.id not in self._known:
            self.golden(case)
            self.tried += 1
            self._known[case.id] = cases.judge_case(self.job, case, self.session, self._store)
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
        golden, spec = self.golden(case), self.job.golden.spec
        if expected is not None:
            golden = replace(golden, outputs=expected, steps=None)
        row = self.job.runtime.row
        given = [
            (t.name, np.asarray(actual[t.name], output_dtype(row, t.dtype)))
            for t in spec.outputs
            if t.name in actual
        ]
        if compare.structure(spec, golden, given, row):
            return [t.name for t in spec.outputs]
        return [o.name for o in compare.compare(spec, golden, given, row) if o.reason]
