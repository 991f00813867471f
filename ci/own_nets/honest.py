"""Every own net, exported by each exporter that takes it, judged in several runtimes.

An alarm is false where the graph is right: another runtime passes, or in float64 it gives what the
model gives in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ci.own_nets.table import Net
from harness.core.errors import HarnessError, StageError
from harness.core.results import CellResult, Status
from harness.core.schema import Array, Stage
from harness.exporting import bundle
from harness.goldens import store
from harness.graphs import interface
from harness.runtimes import load
from harness.shipping import user_model
from harness.shipping.request import Request

RUNTIMES = ("ort-cpu", "openvino", "onnx-reference")
CLOSE = 1e-6
"""How far float64 runs of a right graph may lie from the model's, of the value or the median one:
a graph holds constants, such as an epsilon, in float32."""
FAULTS = {
    ("log_pointer", "onnx-reference"): "its LogSoftmax is the logarithm of a Softmax: -inf",
    ("words", "onnx-reference"): "it loses the batch of a single row in a Loop of tf2onnx",
}
"""What a runtime computes wrongly, whatever exported the net."""


@dataclass(frozen=True)
class Outcome:
    """One cell; ``word`` is one of pass, ALARM, wrong, unable, refused and unavailable.

    ``wrong`` is the exported graph itself, ``unable`` a runtime that does not load or run it, or is
    known to compute it wrongly, ``refused`` the net by the exporter; that the harness refuses an
    honest net otherwise is an alarm too. ``ratio`` is its worst error ÷ tolerance.
    """

    net: str
    exporter: str
    runtime: str
    word: str
    ratio: float | None = None
    reason: str = ""


def available(names: Sequence[str]) -> list[str]:
    return [name for name in names if load(name).check() is None]


def outcomes(
    net: Net, exporter: str, runtimes: Sequence[str], lengths: Sequence[str], folder: Path
) -> Iterator[Outcome]:
    """Export one net and yield what each runtime makes of it; its bundle is left in ``folder``."""
    request = Request(
        *(net.make(), folder, net.description, lengths),
        exporter=exporter,
        runtimes=runtimes,
        name=net.name,
    )
    try:
        report, written = user_model.ship(request, lambda result: None)
    except HarnessError as error:
        word = "refused" if "cannot be exported" in str(error) else "ALARM"
        yield Outcome(net.id, exporter, "", word, reason=str(error))
        return
    model = folder / (bundle.MODEL if written else bundle.REJECTED)
    passed = any(result.status is Status.PASS for result in report.results)
    apart = "" if passed else departure(model, store.read(folder / bundle.GOLDEN))
    for result in report.results:
        word, reason = _judged(net, result, apart)
        worst = result.tally.worst
        ratio = result.cases[worst[0]].outputs[worst[1]].ratio if worst else None
        yield Outcome(net.id, exporter, result.cell.runtime, word, ratio, reason)


def _judged(net: Net, result: CellResult, apart: str) -> tuple[str, str]:
    if result.status in (Status.PASS, Status.UNAVAILABLE):
        return result.status.value, result.reason
    if apart:
        return "wrong", apart
    if fault := FAULTS.get((net.name, result.cell.runtime)):
        return "unable", fault
    able = result.stage not in (Stage.LOAD, Stage.RUN)
    return "ALARM" if able else "unable", f"{result.stage.value}: {result.reason}"


def departure(model: Path, golden: store.Golden) -> str:
    """Return what a graph declares wrongly, or where in float64 it departs from its golden.

    Empty for a right graph.
    """
    try:
        interface.check(interface.read(str(model)), golden.spec, {})
        session = load("oracle").prepare(str(model))
        for case in golden.cases:
            stored = golden.load(case)
            outputs = dict(session.run(stored.inputs))
            for tensor in golden.spec.outputs:
                actual = outputs.get(tensor.name)
                shape = tensor.shape(case.batch, case.lengths)
                if actual is None or actual.shape != shape:
                    return f"{case.id}: {tensor.name} is missing or of another shape"
                if not _close(tensor.at_steps(actual, stored.steps), stored.outputs[tensor.name]):
                    return f"{case.id}: {tensor.name} has other values in float64"
    except StageError as error:
        return str(error)
    return ""


def _close(actual: Array, expected: Array) -> bool:
    if expected.dtype.kind != "f":
        return np.array_equal(actual, expected)
    finite = np.abs(expected[np.isfinite(expected)])
    near = CLOSE * float(np.median(finite)) if finite.size else 0.0
    return np.allclose(actual, expected, rtol=CLOSE, atol=near, equal_nan=True)
