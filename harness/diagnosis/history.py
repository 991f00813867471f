"""What a session must have run before for a case to fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.core.schema import Case, Status
from harness.diagnosis.probing import Probe


def alone(failing: Sequence[Case], probe: Probe) -> Case | None:
    """The first of some cases that fails on a session of its own; None if none does."""
    for case in failing:
        if probe.judge(case, probe.fresh()).status is not Status.PASS:
            return case
    return None


def earlier(case: Case, before: Sequence[Case], probe: Probe) -> Case | None:
    """The first of the cases that ran ``before`` after which ``case`` fails; None if none does."""
    for one in {c.id: replace(c, repeat=False) for c in before}.values():
        session = probe.fresh()
        probe.judge(one, session)
        if probe.judge(case, session).status is not Status.PASS:
            return one
    return None
