"""Values rounded to a narrow floating type, in the dtype that they came in."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from harness.core.schema import Array

_BFLOAT16 = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)


def float16(values: Array) -> Array:
    return values.astype(np.float16).astype(values.dtype)


def bfloat16(values: Array) -> Array:
    return values.astype(_BFLOAT16).astype(values.dtype)


def tf32(values: Array) -> Array:
    """Round as NVIDIA's tensor cores do: float32 with 10 bits of mantissa, a tie going to even."""
    raw = np.asarray(values, np.float32).view(np.uint32)
    raised = raw + 0xFFF + (raw >> 13 & 1)
    return (raised >> 13 << 13).view(np.float32).astype(values.dtype)
