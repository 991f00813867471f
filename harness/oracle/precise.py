"""Operators that onnx's reference evaluator gets wrong or computes in float32, in float64.

Formulas: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx.reference.ops._quant_utils import reshape_input
from onnx.reference.ops.op_cast import cast_to

from harness.core.schema import Array
from harness.oracle.widen import NARROW, widen_value

_erf = np.vectorize(math.erf, otypes=[np.float64])


def cast(x: Array, to: int, saturate: int = 1, round_mode: str = "up") -> tuple[Array]:
    """Cast, with float64 for a narrow ``to`` that ``widen`` missed, in a function's attribute."""
    if to in NARROW:
        return (x.astype(np.float64),)
    return (cast_to(x, to, bool(saturate), round_mode),)


def constant(**attributes: Any) -> tuple[Any]:
    """Return the value of the only attribute, which a function's attribute may set."""
    ((name, value),) = attributes.items()
    if name in ("value", "sparse_value"):
        return (widen_value(value),)
    kinds = {"float": np.float64, "int": np.int64, "string": np.str_}
    return (np.array(value, kinds[name.removeprefix("value_").removesuffix("s")]),)


def erf(x: Array) -> tuple[Array]:
    return (_erf(x) if x.size else x,)


def layer_normalization(
    x: Array,
    scale: Array,
    bias: Array | None = None,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[Array, ...]:
    """Return Y, Mean, InvStdDev over the axes from ``axis`` on."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean = x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(np.square(x - mean).mean(axes, keepdims=True) + epsilon)
    y = (x - mean) * inverse * scale
    return (y if bias is None else y + bias), mean, inverse


def rms_normalization(
    x: Array, scale: Array, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[Array]:
    axes = tuple(range(axis % x.ndim, x.ndim))
    return (x / np.sqrt(np.square(x).mean(axes, keepdims=True) + epsilon) * scale,)


def dequantize_linear(
    x: Array,
    scale: Array,
    zero_point: Array | None = None,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> tuple[Array]:
    """Return ``(x - zero_point) * scale``, per tensor, per axis or per block."""
    y = x.astype(np.float64)
    if zero_point is not None:
        zero = zero_point.astype(np.float64)
        y = y - reshape_input(zero, x.shape, axis, block_size)
    return (y * reshape_input(scale, x.shape, axis, block_size),)


def dynamic_quantize_linear(x: Array) -> tuple[Array, Array, Array]:
    """Return y in uint8, y_scale, y_zero_point in uint8."""
    low, high = min(0.0, float(x.min(initial=0))), max(0.0, float(x.max(initial=0)))
    scale = (high - low) / 255 if high > low else 1 / 255
    zero = np.clip(np.rint(-low / scale), 0, 255)
    y = np.clip(np.rint(x / scale) + zero, 0, 255)
    return y.astype(np.uint8), np.array(scale), np.array(zero, np.uint8)


def lrn(
    x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> tuple[Array]:
    """Return ``x / (bias + alpha / size * sum of squares over size channels) ** beta``."""
    before = (size - 1) // 2
    around = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
    squares = np.pad(np.square(x), around)
    channels = x.shape[1]
    window = sum(squares[:, k : k + channels] for k in range(size))
    return (x / (bias + alpha / size * window) ** beta,)
