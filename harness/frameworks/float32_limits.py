"""What a model's own code reads of the limits of its dtype: in float64, too, those of float32.

A fill of ``finfo(x.dtype).min`` or an epsilon of ``finfo(x.dtype).eps`` is part of the model, and
its float32 values are the ones that are exported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def limits_of_float32(module: Any) -> Iterator[None]:
    """Let ``module.finfo``, of NumPy or PyTorch, answer float32's limits for float64."""
    finfo = module.finfo

    def narrow(*arguments: Any, **options: Any) -> Any:
        limits = finfo(*arguments, **options)
        return finfo(module.float32) if str(limits.dtype) == "float64" else limits

    module.finfo = narrow
    try:
        yield
    finally:
        module.finfo = finfo
