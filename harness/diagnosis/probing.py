"""One case judged at a time: a golden case or a new one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from harness.core import compare
from harness.core.results import CaseResult, Status
from harness.core.schema import Arrays, Case, GoldenCase, Session
from harness.core.tolerance import output_dtype
from harness.diagnosis.reference import Reference
from harness.validation import cases
from harness.validation.job import Ready


@dataclass
class Probe:
    """One session of a job that judges any case of ``reference``; ``tried`` counts them."""

    job: Ready
    reference: Reference
    tried: int = 0
    _store: dict[str, GoldenCase] = field(default_factory=dict)
    _results: dict[str, CaseResult] = field(default_factory=dict)

    @cached_property
    def session(self) -> Session:
        """The session that judges cases one after the other; LoadError where there is none."""
        return self.fresh()

    def fresh(self) -> Session:
        """Return another session of the same model; LoadError where there is none."""
        return self.job.runtime.prepare(str(self.job.model))

    def golden(self, case: Case) -> GoldenCase:
        if case.id not in self._store:
            self._store[case.id] = self.reference.case(case)
        return self._store[case.id]

    def judge(self, case: Case, session: Session | None = None) -> CaseResult:
        """Return how a case is judged, on the one session (once) or on another."""
        self.golden(case)
        if session is not None:
            return cases.judge_case(self.job, case, session, self._store)
        if case.id not in self._results:
            self.tried += 1
            self._results[case.id] = cases.judge_case(self.job, case, self.session, self._store)
        return self._results[case.id]

    def fails(self, case: Case) -> bool:
        """Return whether a case fails; False where there is no reference for it."""
        try:
            return self.judge(case).status is not Status.PASS
        except KeyError:
            return False

    def departing(self, case: Case, actual: Arrays, expected: Arrays | None = None) -> list[str]:
        """Return the outputs that do not conform, judged as the cell's runtime is.

        They are converted to the dtype of the specification, so that a float64 evaluation can be
        judged, too; ``expected`` are complete outputs in place of the reference's.
        """
        golden, spec = self.golden(case), self.job.golden.spec
        if expected is not None:
            golden = replace(golden, outputs=expected, steps=None, projections={})
        row = self.job.runtime.row
        outputs = [
            (t.name, np.asarray(actual[t.name], output_dtype(row, t.dtype)))
            for t in spec.outputs
            if t.name in actual
        ]
        if compare.structure(spec, golden, outputs, row):
            return [t.name for t in spec.outputs]
        return [o.name for o in compare.compare(spec, golden, outputs, row) if o.reason]
