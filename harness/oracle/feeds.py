"""What a graph may be fed: the types and the shapes that it declares."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from harness.graphs.inference import Dim, dims_of
from harness.oracle.widen import NARROW_DTYPES

FLOATING = {*NARROW_DTYPES, np.dtype(np.float64)}
OPEN_TYPES = (TensorProto.UNDEFINED, TensorProto.STRING)


def contradiction(declared: Any, value: Any, wide: bool) -> str:
    """How an array contradicts a TypeProto, in a few words; empty where it does not.

    Where the graph is widened one floating type stands for another. What the graph leaves open
    may be anything; strings, sequences and optionals are not looked into.
    """
    tensor = declared.tensor_type
    if tensor.elem_type in OPEN_TYPES or not isinstance(value, (np.ndarray, np.generic)):
        return ""
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    given = value.dtype.newbyteorder("=")
    same = given == dtype or (wide and {given, dtype} <= FLOATING)
    told, there = str(dtype), f"{value.dtype} {list(value.shape)}"
    if (dims := dims_of(declared)) is not None:
        sizes = [_size(dim) for dim in dims]
        told += f" [{', '.join(map(str, sizes))}]"
        same &= len(sizes) == value.ndim and all(
            isinstance(size, str) or size == actual
            for size, actual in zip(sizes, value.shape, strict=True)
        )
    return "" if same else f"{there}, the model declares {told}"


def _size(dim: Dim) -> int | str:
    """A declared size, or a name where it is open, as it is by -1 to ONNX Runtime."""
    return "?" if dim is None or (isinstance(dim, int) and dim < 0) else dim
