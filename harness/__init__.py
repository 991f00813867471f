"""Prove that a sequence model exported to ONNX computes what was trained, at every length."""

from __future__ import annotations

import sys

from harness.core.surroundings import prepare

prepare(sys.argv[:1] == ["-m"])

from importlib import import_module  # noqa: E402
from types import ModuleType  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from harness.api import export, validate  # noqa: E402

if TYPE_CHECKING:
    from harness.core.errors import (
        GoldenError,
        HarnessError,
        NonconformanceError,
        NothingSelectedError,
        UnavailableError,
        UsageError,
    )
    from harness.core.results import Report

__version__ = "0.1.0"
__all__ = [
    "GoldenError",
    "HarnessError",
    "NonconformanceError",
    "NothingSelectedError",
    "Report",
    "UnavailableError",
    "UsageError",
    "__version__",
    "export",
    "validate",
]


_MODULES = {"Report": "results"}


class _Package(ModuleType):
    """Keeps the functions where the commands' modules of the same names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("export", "validate") or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    """Import a type or an error when it is first used: ``import harness`` stays cheap."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"harness.core.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _Package
