"""Runtimes that are wrong in one way each, around the right outputs of the doubler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.errors import LoadError
from harness.runtimes.ort import CUDA_PROVIDER, OrtSession
from harness.schema import Array, Arrays

Outputs = list[tuple[str, Array]]


def right(inputs: Arrays) -> Outputs:
    y = inputs["x"] * np.float32(2)
    return [("y", y), ("total", y.sum(axis=1))]


class Session:
    def __init__(self, change: Callable[[Outputs, int], Outputs]) -> None:
        self.change, self.runs = change, 0

    def run(self, inputs: Arrays) -> Outputs:
        self.runs += 1
        return self.change(right(inputs), self.runs)

    def evidence(self) -> dict[str, Any]:
        return {"version": "planted"}


@dataclass(frozen=True)
class Runtime:
    change: Callable[[Outputs, int], Outputs] = lambda outputs, run: outputs
    reason: str | None = None

    def check(self) -> str | None:
        return self.reason

    def version(self) -> str:
        return "planted"

    def prepare(self, path: str) -> Session:
        return Session(self.change)


class FallsBackSilently(Runtime):
    """As ONNX Runtime does: the provider is listed, a recurrent node runs on the CPU."""

    def prepare(self, path: str) -> Any:
        nodes = [("LSTM", "CPUExecutionProvider"), ("MatMul", CUDA_PROVIDER)]
        parts = [
            SimpleNamespace(
                ep_name=provider,
                get_nodes=lambda op=op: [SimpleNamespace(op_type=op, name=op.lower())],
            )
            for op, provider in nodes
        ]
        fake = SimpleNamespace(
            get_inputs=lambda: [SimpleNamespace(name="x")],
            get_outputs=lambda: [SimpleNamespace(name="y"), SimpleNamespace(name="total")],
            run=lambda names, inputs: [value for _, value in right(inputs)],
            get_provider_graph_assignment_info=lambda: parts,
            get_providers=lambda: [CUDA_PROVIDER, "CPUExecutionProvider"],
            get_provider_options=lambda: {CUDA_PROVIDER: {"use_tf32": "0"}},
        )
        return OrtSession(fake, CUDA_PROVIDER, "planted")


class FallsBackAtLoad(Runtime):
    def prepare(self, path: str) -> Any:
        raise LoadError("the session fell back to CPUExecutionProvider")


def only_on_run(number: int, change: Callable[[Outputs, int], Outputs]) -> Any:
    return lambda outputs, run: change(outputs, run) if run == number else outputs


def raises(outputs: Outputs, run: int) -> Outputs:
    raise ValueError("a runtime's own error\nwith a second line")


CLEAN = Runtime()
ABSENT = Runtime(reason="no such device")
SILENT_FALLBACK = FallsBackSilently()
LOAD_FALLBACK = FallsBackAtLoad()
DROPS = Runtime(lambda outputs, run: outputs[:1])
DOUBLES = Runtime(lambda outputs, run: [*outputs, outputs[0]])
RENAMES = Runtime(lambda outputs, run: [("Y", outputs[0][1]), outputs[1]])
RETYPES = Runtime(lambda outputs, run: [(n, v.astype(np.float16)) for n, v in outputs])
TRANSPOSES = Runtime(lambda outputs, run: [(n, v.T) for n, v in outputs])
SWAPS = Runtime(lambda outputs, run: [("y", outputs[1][1]), ("total", outputs[0][1])])
LAST_RUN_WRONG = Runtime(only_on_run(5, lambda o, run: [(n, v + np.float32(1e-3)) for n, v in o]))
RAISES = Runtime(raises)
