"""The case that a session must have run before for another to fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.core.results import Status
from harness.core.schema import Case
from harness.diagnosis.probing import Probe


def alone(failing: Sequence[Case], probe: Probe) -> Case | None:
    """Return the first of some cases that fails on a fresh session; None if none does."""
    for case in failing:
        if probe.judge(case, probe.fresh()).status is not Status.PASS:
            return case
    return None


def earlier(case: Case, before: Sequence[Case], probe: Probe) -> Case | None:
    """Return the first of the cases ``before`` after which ``case`` fails; None if none is."""
    for candidate in {c.id: replace(c, repeat=False) for c in before}.values():
        session = probe.fresh()
        probe.judge(candidate, session)
        if probe.judge(case, session).status is not Status.PASS:
            return candidate
    return None
