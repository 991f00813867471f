"""Names to objects: the plain dicts, what entry points add to them, and ``"module:attribute"``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module, metadata
from typing import Any


def resolve(target: str) -> Any:
    """The module, or the attribute of it, that ``"module"`` or ``"module:attribute"`` names."""
    module, _, attribute = target.partition(":")
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def extended(group: str, ours: Mapping[str, str]) -> dict[str, str]:
    """``ours`` and what installed distributions add under the entry point group ``group``.

    Nothing of theirs is imported; a name of ours stays ours.
    """
    added = {entry.name: entry.value for entry in metadata.entry_points(group=group)}
    return {**ours, **{name: target for name, target in added.items() if name not in ours}}
