"""The check of a graph's inputs against the types and shapes that it declares."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from harness.graphs.inference import Dim, dims_of
from harness.oracle.widen import NARROW_DTYPES

FLOATING = {*NARROW_DTYPES, np.dtype(np.float64)}
OPEN_TYPES = (TensorProto.UNDEFINED, TensorProto.STRING)


def contradiction(declared: Any, value: Any, wide: bool) -> str:
    """Return how an array contradicts a TypeProto, in a few words; empty where it does not.

    In a ``wide`` graph all floating types are equal. What the graph leaves open may be anything;
    strings, sequences and optionals are not checked.
    """
    tensor = declared.tensor_type
    if tensor.elem_type in OPEN_TYPES or not isinstance(value, (np.ndarray, np.generic)):
        return ""
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    native = value.dtype.newbyteorder("=")
    same = native == dtype or (wide and {native, dtype} <= FLOATING)
    expected = str(dtype)
    if (dims := dims_of(declared)) is not None:
        sizes = [_size(dim) for dim in dims]
        expected += f" [{', '.join(map(str, sizes))}]"
        same &= len(sizes) == value.ndim and all(
            isinstance(size, str) or size == actual
            for size, actual in zip(sizes, value.shape, strict=True)
        )
    shown = f"{value.dtype} {list(value.shape)}"
    return "" if same else f"{shown}, the model declares {expected}"


def _size(dim: Dim) -> int | str:
    """Return a declared size, or a name where it is open; ONNX Runtime takes -1 as open too."""
    return "?" if dim is None or (isinstance(dim, int) and dim < 0) else dim
