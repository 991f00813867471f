"""How far an output may lie from the oracle: a multiple of what rounding alone explains."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.core.schema import Array

TF32 = 2.0**13
"""The unit roundoff of TF32, 2^-11 with its 10 bits of mantissa, in units of float32's, 2^-24."""

K: dict[str, tuple[float, str]] = {
    "ort-cpu": (6.0, "its Sigmoid and Tanh are good to 1e-7 absolute only, and that adds up"),
    "ort-cuda": (8.0, "float32 with TF32 off; cuDNN splits and orders sums in its own way"),
    "ort-cuda+tf32": (4.0 * TF32, "TF32 rounds 2^13 times as coarsely; not measured on a device"),
    "ort-tensorrt": (4.0 * TF32, "TensorRT uses TF32, whatever is asked; not measured on a device"),
    "ort-web": (8.0, "as ort-cpu, without fused multiply-add: at worst 5.6, but for one model"),
    "openvino": (4.0, "float32 asked for, and accurate Sigmoid and Tanh: at worst 2.0"),
    "openvino-default": (4.0, "as openvino: what it computes in bfloat16 does not conform"),
    "tract": (6.0, "its Sigmoid and Tanh are good to 2e-7 only, and that adds up: at worst 4.7"),
    "onnx-reference": (4.0, "float32 NumPy, operator by operator"),
    "keras": (4.0, "the noise floor is its own: at worst 1 where it was recorded"),
    "torch": (4.0, "the noise floor is its own: at worst 1 where it was recorded"),
}
DEFAULT_K = 4.0

FULL_PRECISION: dict[str, tuple[float, str]] = {
    "oracle": (1e-12, "float64 throughout: relative to the output's scale, whatever the floor"),
}


def row(runtime: str, tf32: bool) -> str:
    """The row of the table for a runtime that computes in float32, or may use TF32."""
    own = f"{runtime}+tf32"
    return own if tf32 and own in K else runtime


def told(runtime: str) -> dict[str, Any]:
    """A row of the table for a report: of the scale alone, or of the noise floor."""
    if runtime in FULL_PRECISION:
        factor, reason = FULL_PRECISION[runtime]
        return {"row": runtime, "of_scale": factor, "reason": reason}
    reason = K[runtime][1] if runtime in K else "the default"
    return {"row": runtime, "k": k(runtime), "reason": reason}


def k(runtime: str) -> float:
    """The factor that ``runtime`` is allowed over the noise floor."""
    return K[runtime][0] if runtime in K else DEFAULT_K


def output_dtype(runtime: str, declared: str) -> np.dtype[Any]:
    """The dtype that ``runtime`` must give an output declared as ``declared``."""
    dtype = np.dtype(declared)
    return np.dtype(np.float64) if runtime in FULL_PRECISION and dtype.kind == "f" else dtype


def one_ulp(scale: float) -> float:
    """The distance from ``scale``, or from the largest float32 where that is less, to the next."""
    limits = np.finfo(np.float32)
    within = min(max(abs(scale), float(limits.tiny)), float(limits.max) / 2)
    return float(np.spacing(np.float32(within)))


def rounded_scale(values: Array) -> float:
    """The largest absolute value among those that rounding to float32 changes; 0 without any.

    What float32 holds to the bit was put there, not computed: a fill such as -1e9 where a mask is
    0, or the zero of a padded step. It says nothing of what rounding does to the others.
    """
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        changed = finite[finite.astype(np.float32) != finite]
    return float(np.abs(changed).max(initial=0.0))


def scale_of(usual: float, expected: Array) -> float:
    """An output's scale: what is ``usual`` at lengths like these, or more if ``expected`` has more.

    Where all of it is held by float32 to the bit, its largest value has to do.
    """
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    return usual if largest <= usual else max(usual, rounded_scale(expected)) or largest


def tolerance(runtime: str, noise_floor: float, scale: float) -> float:
    """``k(runtime) * max(noise floor, one float32 ulp of the output's scale)``.

    ``noise_floor`` is the largest absolute float32 error of the framework's own run at these
    lengths, ``scale`` the output's largest computed value at lengths like these. A runtime in
    ``FULL_PRECISION`` is allowed its factor of the scale alone.
    """
    if runtime in FULL_PRECISION:
        return FULL_PRECISION[runtime][0] * max(scale, float(np.finfo(np.float32).tiny))
    return k(runtime) * max(noise_floor, one_ulp(scale))
