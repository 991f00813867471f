"""Runtimes: ONNX in, outputs and evidence out, one file each (``harness.core.schema.Runtime``)."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass

from harness.core.errors import LoadError, one_line
from harness.core.registry import extended, resolve
from harness.core.schema import Runtime, Session

OURS: dict[str, str] = {
    "ort-cpu": "harness.runtimes.ort:CPU",
    "ort-cuda": "harness.runtimes.ort:CUDA",
    "ort-tensorrt": "harness.runtimes.ort_tensorrt:TENSORRT",
    "ort-web": "harness.runtimes.ort_web:WEB",
    "openvino": "harness.runtimes.openvino:FULL_PRECISION",
    "openvino-default": "harness.runtimes.openvino:DEFAULT_PRECISION",
    "tract": "harness.runtimes.tract:TRACT",
    "onnx-reference": "harness.runtimes.onnx_reference:REFERENCE",
    "oracle": "harness.oracle.runtime:ORACLE",
    "keras": "harness.runtimes.frameworks:KERAS",
    "keras-cuda": "harness.runtimes.frameworks:KERAS_CUDA",
    "torch": "harness.runtimes.frameworks:TORCH",
    "torch-cuda": "harness.runtimes.frameworks:TORCH_CUDA",
}
RUNTIMES: dict[str, str] = extended("harness.runtimes", OURS)


@dataclass(frozen=True)
class Unusable:
    """Stands for a runtime that cannot be imported: unavailable, with the reason."""

    reason: str

    def check(self) -> str | None:
        return self.reason

    def version(self) -> str:
        return ""

    def prepare(self, path: str) -> Session:
        raise LoadError(self.reason)


def load(name: str) -> Runtime:
    """The runtime called ``name``; KeyError where there is none.

    One that cannot be imported, or is no runtime, is unavailable and says why. What an import
    prints goes to standard error.
    """
    target = RUNTIMES[name]
    methods = ("check", "version", "prepare")
    try:
        with redirect_stdout(sys.stderr):
            runtime: Runtime = resolve(target)
            missing = [method for method in methods if not callable(getattr(runtime, method, None))]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Unusable(f"{target} cannot be imported: {one_line(error)}")
    return Unusable(f"{target} is no runtime: it has no {missing[0]}()") if missing else runtime
