"""How far an output may lie from the oracle: a multiple of what rounding alone explains."""

from __future__ import annotations

import numpy as np

K: dict[str, tuple[float, str]] = {
    "ort-cpu": (6.0, "its Sigmoid and Tanh are good to 1e-7 absolute only, and that adds up"),
    "ort-cuda": (8.0, "float32 with TF32 off; cuDNN splits and orders sums in its own way"),
    "onnx-reference": (4.0, "float32 NumPy, operator by operator"),
}
DEFAULT_K = 4.0


def k(runtime: str) -> float:
    """The factor that ``runtime`` is allowed over the noise floor."""
    return K[runtime][0] if runtime in K else DEFAULT_K


def one_ulp(scale: float) -> float:
    """The distance from ``scale`` to the next float32."""
    smallest = float(np.finfo(np.float32).tiny)
    return float(np.spacing(np.float32(max(abs(scale), smallest))))


def tolerance(runtime: str, noise_floor: float, scale: float) -> float:
    """``k(runtime) * max(noise floor, one float32 ulp of the output's scale)``.

    ``noise_floor`` is the largest absolute float32 error of the framework's own run at these
    lengths, ``scale`` the output's largest absolute value at lengths like these.
    """
    return k(runtime) * max(noise_floor, one_ulp(scale))
