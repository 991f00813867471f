"""What a runtime computes with other settings: does the departure go away?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from harness.core.errors import HarnessError
from harness.core.schema import Case, Runtime, Status
from harness.diagnosis.diagnosis import Diagnosis, Guess
from harness.diagnosis.probing import Probe
from harness.runtimes import RUNTIMES, guard, load
from harness.runtimes.ort_options import LEVELS

PRECISE = {"openvino-default": "openvino"}
"""For a runtime that may compute in less than float32, the same in full precision."""


def guesses(known: Diagnosis, probe: Probe) -> Iterator[Guess]:
    """Settings with which the shortest failing case passes, each tried."""
    assert known.shortest is not None
    case, label = known.shortest.case, probe.work.cell.runtime
    judged = probe.judge(case)
    if re.search(r"\d+ of \d+ nodes not on \w+ExecutionProvider", judged.reason):
        words = "some nodes run on the CPU, not on the device that was asked for"
        yield Guess("CPU fallback", words, judged.reason, True)
        return
    if (other := PRECISE.get(label)) and other in RUNTIMES and _passes(load(other), case, probe):
        evidence = _evidence(probe)
        words = "the runtime computes in less than float32 by default"
        told = f"{other}, the same in full precision, passes at {case.id}{evidence}"
        yield Guess("reduced precision", words, told, True)
    configured: Any = getattr(probe.runtime, "configured", None)
    if configured is None:
        return
    reduced = guard.evidence(probe.session).get("tf32")
    if reduced and _passes(configured(provider={"use_tf32": "0"}), case, probe):
        words = "products are computed in TF32, 10 bits of mantissa"
        yield Guess("TF32", words, f"with use_tf32=0 {case.id} passes", True)
        return
    if _passes(configured(optimization="none"), case, probe):
        fails = next(
            (n for n in list(LEVELS)[1:] if not _passes(configured(optimization=n), case, probe)),
            "all",
        )
        words = "an optimisation of the graph changes what it computes"
        told = f"{case.id} passes without optimisation, and fails from level {fails!r} on"
        yield Guess("graph optimisation", words, told, True)


def _passes(runtime: Runtime, case: Case, probe: Probe) -> bool:
    try:
        if guard.reason(runtime) is not None:
            return False
        session = runtime.prepare(str(probe.work.model))
    except HarnessError:
        return False
    return probe.judge(case, session).status is Status.PASS


def _evidence(probe: Probe) -> str:
    told = guard.evidence(probe.session).get("inference_precision")
    return f"; this one tells its precision as {told}" if told else ""
