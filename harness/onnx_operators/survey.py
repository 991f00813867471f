"""Operator cases through a runtime, in a child that is replaced where a case kills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.core.temporary import temporary_folder
from harness.onnx_operators import cases as operator_cases
from harness.onnx_operators.cases import CRASHED, OperatorCase, OperatorVerdict
from harness.processes.limits import Limits
from harness.processes.worker import Heed, LostError, Worker
from harness.runtimes import load
from harness.runtimes.guard import GuardedRuntime


@dataclass(frozen=True)
class Survey:
    """A runtime's version and its verdict in every case; ``unavailable`` is why there is none."""

    version: str
    verdicts: Mapping[str, OperatorVerdict]
    unavailable: str | None = None


def survey(
    name: str, cases: Sequence[OperatorCase], seconds: float, progress: Callable[[str], None]
) -> Survey:
    """Judge ``cases`` in the runtime called ``name``, each of which may take ``seconds``."""
    runtime = load(name)
    if reason := runtime.check():
        return Survey("", {}, reason)
    verdicts: dict[str, OperatorVerdict] = {}
    worker: Worker | None = None
    try:
        for case in cases:
            progress(case.name)
            worker = worker or Worker(Limits(seconds))
            try:
                verdicts[case.name] = worker.call(judge, runtime, case)
            except LostError as lost:
                worker.stop()
                worker = None
                reason = f"the process that ran it {lost.how}"
                verdicts[case.name] = OperatorVerdict(CRASHED, reason)
    finally:
        if worker:
            worker.stop()
    return Survey(runtime.version(), verdicts)


def judge(emit: Heed, runtime: GuardedRuntime, case: OperatorCase) -> OperatorVerdict:
    """Judge a case in this process."""
    with temporary_folder() as folder:
        return operator_cases.judge(case, runtime, folder / "model.onnx")
