"""Names to objects: the plain dicts, what entry points add to them, and ``"module:attribute"``."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def resolve(target: str) -> Any:
    """The module, or the attribute of it, that ``"module"`` or ``"module:attribute"`` names."""
    module, _, attribute = target.partition(":")
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded
