"""Latencies of several models on the same input, measured in turn so that noise is shared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import onnxruntime

from harness.core.schema import Arrays

THREADS = 1
ROUNDS = 25
AT_LEAST = 7
PASSES = 3


@dataclass(frozen=True)
class Timings:
    """The best seconds of each model in each round; the rounds of all models correspond."""

    best: Mapping[str, list[float]]

    def seconds(self, name: str) -> float:
        return statistics.median(self.best[name])

    def ratio(self, name: str, to: str) -> float:
        """Return how much longer ``name`` takes than ``to``: the median over the rounds."""
        pairs = zip(self.best[name], self.best[to], strict=True)
        return statistics.median(a / b for a, b in pairs)


def load(model: bytes) -> onnxruntime.InferenceSession:
    """Load ``model`` in ONNX Runtime on the CPU with ``THREADS`` threads."""
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure(
    sessions: Mapping[str, onnxruntime.InferenceSession], inputs: Arrays, budget: float
) -> Timings:
    """Run up to ``ROUNDS`` rounds within ``budget`` seconds, and at least ``AT_LEAST``.

    In a round each model runs ``PASSES`` times, one after the other, and its best time counts.
    """
    best: dict[str, list[float]] = {name: [] for name in sessions}
    for session in sessions.values():
        session.run(None, inputs)
    names = list(sessions)
    started = time.perf_counter()
    for number in range(ROUNDS):
        if number >= AT_LEAST and time.perf_counter() - started > budget:
            break
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(PASSES):
            for name in names:
                before = time.perf_counter()
                sessions[name].run(None, inputs)
                times[name].append(time.perf_counter() - before)
            names.append(names.pop(0))
        for name, taken in times.items():
            best[name].append(min(taken))
    return Timings(best)
