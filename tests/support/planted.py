"""Runtimes that are wrong in one way each, around the right outputs of the doubler."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.core.errors import LoadError
from harness.core.schema import Array, Arrays
from harness.core.tolerance import Row
from harness.placing.verdict import CUDA_PROVIDER
from harness.runtimes.ort import OrtSession

Outputs = list[tuple[str, Array]]


def right(inputs: Arrays) -> Outputs:
    y = inputs["x"] * np.float32(2)
    return [("y", y), ("total", y.sum(axis=1))]


def version() -> dict[str, Any]:
    return {"version": "planted"}


class Session:
    def __init__(
        self, change: Callable[[Outputs, int], Outputs], told: Callable[[], Any] = version
    ) -> None:
        self.change, self.told, self.runs = change, told, 0

    def run(self, inputs: Arrays) -> Outputs:
        self.runs += 1
        return self.change(right(inputs), self.runs)

    def evidence(self) -> Any:
        return self.told()


@dataclass(frozen=True)
class Runtime:
    change: Callable[[Outputs, int], Outputs] = lambda outputs, run: outputs
    reason: str | None = None
    told: Callable[[], Any] = version
    checked: Callable[[], Any] | None = None

    def check(self) -> Any:
        return self.checked() if self.checked else self.reason

    def version(self) -> str:
        return "planted"

    def prepare(self, path: str) -> Session:
        return Session(self.change, self.told)


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


def quits(*given: Any) -> Any:
    sys.exit(0)


class PanicError(BaseException):
    """As a library in Rust raises it."""


def panics(*given: Any) -> Any:
    raise PanicError("a planted\npanic")


class SpoilingSession(Session):
    """Changes its inputs in place, once it has run."""

    def run(self, inputs: Arrays) -> Outputs:
        outputs = super().run(inputs)
        for value in inputs.values():
            value[...] = 0
        inputs.clear()
        return outputs


class Spoils(Runtime):
    def prepare(self, path: str) -> Any:
        return SpoilingSession(self.change)


MEMORY = {"y": np.zeros(1000, np.float32), "total": np.zeros(100, np.float32)}


def reused(outputs: Outputs, run: int) -> Outputs:
    """The outputs in memory that the next run writes to."""
    for name, value in outputs:
        MEMORY[name][: value.size] = value.ravel()
    return [(name, MEMORY[name][: value.size].reshape(value.shape)) for name, value in outputs]


def big_endian(outputs: Outputs, run: int) -> Outputs:
    return [(name, value.astype(">f4")) for name, value in outputs]


class Coarse(Runtime):
    """Errs by a thousandth, and says that it may."""

    row = Row(1e5, "it computes in sixteenths")
    precise = "onnx-reference"
    distributions = ("numpy",)


CLEAN = Runtime()
COARSE = Coarse(lambda outputs, run: [(n, v * np.float32(1.001)) for n, v in outputs])
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
QUITS = Runtime(only_on_run(3, quits))
ALWAYS_QUITS = Runtime(quits)
PANICS = Runtime(only_on_run(3, panics))
SPOILS = Spoils()
REUSES = Runtime(reused)
BIG_ENDIAN = Runtime(big_endian)
NOTHING = Runtime(only_on_run(3, lambda outputs, run: None))
MAPPING = Runtime(only_on_run(3, lambda outputs, run: dict(outputs)))
LAZY = Runtime(only_on_run(3, lambda outputs, run: (pair for pair in outputs)))
BARE = Runtime(only_on_run(3, lambda outputs, run: [value for _, value in outputs]))
NUMBERED = Runtime(only_on_run(3, lambda outputs, run: list(enumerate(v for _, v in outputs))))
LISTS = Runtime(only_on_run(3, lambda outputs, run: [(n, v.tolist()) for n, v in outputs]))
MASKED = Runtime(
    only_on_run(3, lambda outputs, run: [(n, np.ma.masked_array(v, v == v)) for n, v in outputs])
)
TELLS_NUMPY = Runtime(told=lambda: {"threads": np.int64(3), "scales": np.array([1.5, np.nan])})
TELLS_NOTHING = Runtime(told=lambda: None)
TELLS_BY_RAISING = Runtime(told=lambda: raises([], 0))
TRANSPOSES_AND_RAISES = Runtime(TRANSPOSES.change, told=TELLS_BY_RAISING.told)
CHECKS_BY_QUITTING = Runtime(checked=quits)
CHECKS_BY_RAISING = Runtime(checked=lambda: raises([], 0))
CHECKS_BY_A_NUMBER = Runtime(checked=lambda: 5)
BABBLES = Runtime(
    lambda outputs, run: print("running") or outputs,
    told=lambda: print("telling") or version(),
    checked=lambda: print("checking"),
)
