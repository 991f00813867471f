"""Settings of a runtime with which a departure goes away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from harness.core.errors import HarnessError
from harness.core.results import Status
from harness.core.schema import Case
from harness.diagnosis.diagnosis import Diagnosis, Guess
from harness.diagnosis.probing import Probe
from harness.runtimes import load
from harness.runtimes.guard import GuardedRuntime
from harness.runtimes.ort_options import LEVELS


def guesses(diagnosis: Diagnosis, probe: Probe) -> Iterator[Guess]:
    """Yield settings with which every failing case passes, each tried.

    Where the error is above the tolerance with a setting, too, that is not the cause.
    """
    assert diagnosis.shortest is not None
    runtime = probe.job.runtime
    assert isinstance(runtime, GuardedRuntime)
    first = diagnosis.shortest.case
    cases = [first, *(case for case in diagnosis.failing if case.id != first.id)]
    which = first.id if len(cases) == 1 else f"each of the {len(cases)} failing cases"
    judged = probe.judge(first)
    if re.search(r"\d+ of \d+ nodes not on \w+ExecutionProvider", judged.reason):
        words = "some nodes run on the CPU, not on the device that was asked for"
        yield Guess("CPU fallback", words, judged.reason, True)
        return
    if (precise := runtime.precise) and _pass(load(precise), cases, probe):
        precision = probe.session.evidence().get("inference_precision")
        words = "the runtime computes in less than float32 by default"
        rests = f"{precise}, the same in full precision, passes at {which}"
        rests += f"; this one tells its precision as {precision}" if precision else ""
        yield Guess("reduced precision", words, rests, True)

    def passes(**settings: Any) -> bool:
        changed = runtime.configured(**settings)
        return changed is not None and _pass(changed, cases, probe)

    if probe.session.evidence().get("tf32") and passes(provider={"use_tf32": "0"}):
        words = "products are computed in TF32, 10 bits of mantissa"
        yield Guess("TF32", words, f"with use_tf32=0 {which} passes", True)
        return
    if passes(optimization="none"):
        above = list(LEVELS)[1:]
        fails = next((level for level in above if not passes(optimization=level)), "all")
        words = "an optimisation of the graph changes what it computes"
        rests = f"{which} passes without optimisation; not so from level {fails!r} on"
        yield Guess("graph optimisation", words, rests, True)


def _pass(runtime: GuardedRuntime, cases: Sequence[Case], probe: Probe) -> bool:
    try:
        if runtime.check() is not None:
            return False
        session = runtime.prepare(str(probe.job.model))
    except HarnessError:
        return False
    return all(probe.judge(case, session).status is Status.PASS for case in cases)
