"""Adapters that build, train and run a twin: one file for each framework.

A twin is a module with ``build(name)``. Each adapter offers ``build``, ``load``,
``parameters``, ``run`` and ``fit`` with the same signatures; parameters travel in the layout of
``reference_models.numerics``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from harness.core import install
from harness.core.errors import UnavailableError

FRAMEWORKS: dict[str, str] = {
    "keras": "harness.frameworks.keras_twin",
    "torch": "harness.frameworks.torch_twin",
}


def load(name: str) -> Any:
    """Import the adapter of a framework; UnavailableError, which says what installs it."""
    try:
        return import_module(FRAMEWORKS[name])
    except ModuleNotFoundError as error:
        missing = f"{name} is not installed here ({error.name} is missing)"
        raise UnavailableError(f"{missing}: {install.line(name)}") from None
