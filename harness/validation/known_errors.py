"""Whether a case fails because of its runtime's own operators, whose errors are known.

Then the graph itself, in float64, meets the golden with room to spare, and what the runtime gives
differs from that by no more than its tolerance and what such operators do to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.core import compare
from harness.core.errors import StageError
from harness.core.results import OutputComparison
from harness.core.schema import Array, Arrays, GoldenCase
from harness.core.tolerance import Row
from harness.graphs import interface
from harness.oracle import operator_errors
from harness.oracle.runtime import ORACLE
from harness.validation.job import Ready

ROOM = 0.1
"""The largest ratio of the graph itself, in float64, in a case that they may explain."""


@dataclass
class KnownErrors:
    """The known errors of a job's runtime, and the cases that they explain."""

    job: Ready
    explained: list[float] = field(default_factory=list)
    _given_up: bool = False

    @cached_property
    def row(self) -> Row:
        """The runtime's row, with the errors of the operators that give the graph's outputs."""
        row = self.job.runtime.row
        if not row.operators or self.job.model is None:
            return row
        at_outputs = operator_errors.at_outputs(self._model, row.operators)
        return replace(row, at_outputs=at_outputs)

    def again(
        self,
        golden: GoldenCase,
        actual: Sequence[tuple[str, Array]],
        compared: Sequence[OutputComparison],
    ) -> tuple[OutputComparison, ...] | None:
        """Return how a case that ``compared`` as failed does with what operators' errors allow it.

        None where they do not explain it. Where the graph itself is not right, no later case of the
        job is looked into.
        """
        failed = max(output.ratio for output in compared)
        beyond = all(not output.reason or output.ratio > 1 for output in compared)
        if self._given_up or not beyond or not self._operators:
            return None
        spec = self.job.golden.spec
        try:
            exact = dict(self._session.run(golden.inputs))
            if not self._right(golden, exact):
                self._given_up = True
                return None
            again = compare.compare(spec, golden, actual, self.row)
            if any(output.reason for output in again):
                error = operator_errors.moved(self._session, exact, self.row, golden.inputs)
                allowed = {name: compare.SAFETY * value for name, value in error.items()}
                golden = replace(golden, operator_error=allowed)
                again = compare.compare(spec, golden, actual, self.row)
        except StageError:
            self._given_up = True
            return None
        if any(output.reason for output in again):
            return None
        self.explained.append(failed)
        return again

    def _right(self, golden: GoldenCase, exact: Arrays) -> bool:
        """Return whether the graph itself meets the golden, with room to spare."""
        dtypes = {t.name: t.dtype for t in self.job.golden.spec.outputs}
        graph = [(n, v if v.dtype.kind == "f" else v.astype(dtypes[n])) for n, v in exact.items()]
        itself = compare.compare(self.job.golden.spec, golden, graph, self.job.runtime.row)
        return not any(output.reason or output.ratio > ROOM for output in itself)

    def evidence(self) -> dict[str, Any]:
        """Return what was explained, for a report; nothing where nothing was."""
        if not self.explained:
            return {}
        known = {name: self.row.operators.get(name) for name in self._operators}
        return {
            "runtime_error": {
                "cases": len(self.explained),
                "ratio_without": max(self.explained),
                "operators": {
                    n: "of the largest value, by the length" if e is None else e
                    for n, e in known.items()
                },
                "row": self.row.name,
            }
        }

    @cached_property
    def _model(self) -> Any:
        return interface.read(str(self.job.model))

    @cached_property
    def _operators(self) -> list[str]:
        if self.job.model is None or self.row.full_precision:
            return []
        return operator_errors.has_any(self._model, self.row)

    @cached_property
    def _session(self) -> Any:
        return ORACLE.open(self._model)
