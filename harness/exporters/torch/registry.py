"""PyTorch's exporter, imported with this module, and one table of operators for all exports.

PyTorch builds the table at every export, which takes as long as exporting a small model. Both are
private parts of PyTorch: where a version has them elsewhere, exports are the same but slower.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

_MODULE = "torch.onnx._internal.exporter._registration"

for _used in ("torch._dynamo", "torch.onnx._internal.exporter._core"):
    with suppress(ImportError):
        importlib.import_module(_used)


@contextmanager
def one_registry() -> Iterator[None]:
    """Share one table for each opset among the exports in this block."""
    registry = _class()
    if registry is None:
        yield
        return
    with patch.object(registry, "from_torchlib", staticmethod(_table)):
        yield


def _class() -> Any:
    try:
        registry = importlib.import_module(_MODULE).ONNXRegistry
    except (ImportError, AttributeError):
        return None
    return registry if hasattr(registry, "from_torchlib") else None


_build: Callable[..., Any] = getattr(_class(), "from_torchlib", dict)


@functools.cache
def _table(**options: Any) -> Any:
    return _build(**options)
