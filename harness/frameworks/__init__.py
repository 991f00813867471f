"""Adapters that build, train and run a twin, and user models: files for each framework.

A twin is a module with ``build(name)``. Each adapter has ``build``, ``load``, ``parameters``,
``run`` and ``fit`` with the same signatures; parameters are in the layout of
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


def twin_adapter(name: str) -> Any:
    """Return a framework's adapter; UnavailableError, which names what installs it, without it."""
    return _imported(name, FRAMEWORKS[name])


def user_models(name: str) -> Any:
    """Return the module of a framework's user models; UnavailableError as ``twin_adapter``."""
    return _imported(name, f"harness.frameworks.{name}_model")


def _imported(name: str, module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise missing(name, error) from None


def missing(name: str, error: ModuleNotFoundError) -> UnavailableError:
    """Return the error for a framework without a module, with the line that installs it."""
    lacking = f"{name} is not installed here ({error.name} is missing)"
    return UnavailableError(f"{lacking}: {install.line(name)}")
