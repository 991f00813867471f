"""Runtimes: ONNX in, outputs and evidence out, one file each (``harness.core.schema.Runtime``)."""

from __future__ import annotations

from dataclasses import replace

from harness.core.registry import extended
from harness.core.tolerance import DEFAULT_ROW, Row
from harness.runtimes.guard import GuardedRuntime, guarded
from harness.runtimes.settings import NONE, Settings

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


def load(name: str, settings: Settings = NONE) -> GuardedRuntime:
    """Return the runtime called ``name``, guarded; KeyError where there is none.

    One that cannot be imported, or is no runtime, is unavailable and says why. UsageError where it
    cannot have the ``settings``.
    """
    return guarded(RUNTIMES[name], name, settings)


def row(name: str, tf32: bool = False) -> Row:
    """Return the row of the runtime called ``name``, at whatever version it is named.

    The default where there is none.
    """
    known, at, _ = name.partition("@")
    if known not in RUNTIMES:
        return replace(DEFAULT_ROW, name=name)
    row = load(known).row_of(tf32)
    return replace(row, name=row.name.replace(known, name, 1)) if at else row


def distributions() -> list[str]:
    """Return the distributions that our runtimes compute with."""
    ours = (guarded(target).distributions for target in OURS.values())
    return list(dict.fromkeys(name for names in ours for name in names))
