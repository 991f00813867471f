"""Registries, which map names to ``"module:attribute"``, and what entry points add to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any

from harness.core.errors import one_line

_NAME = r"[\w.-]+"
_NAMES = {"harness.exporters": (f"{_NAME}/{_NAME}", "NAME/FRAMEWORK")}


@dataclass(frozen=True)
class Added:
    """A name that an installed distribution adds to a group.

    ``origin`` is the distribution and its version, ``refused`` why the name is not taken up, in
    one line; empty where it is.
    """

    name: str
    target: str
    origin: str
    refused: str = ""


def resolve(target: str) -> Any:
    """Import and return what ``"module"`` or ``"module:attribute"`` names."""
    module, _, attribute = target.partition(":")
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def import_error(emit: object, target: str) -> str:
    """Return why ``target`` cannot be imported here, in one line; a ``Worker`` can call this."""
    try:
        return "" if callable(resolve(target)) else "it cannot be called"
    except Exception as error:
        return one_line(error)


def added(group: str, ours: Mapping[str, str]) -> list[Added]:
    """Return what installed distributions add to ``ours`` under the entry point group ``group``.

    Nothing is imported. A name of ours stays ours; any other belongs to the first that adds it.
    """
    pattern, form = _NAMES.get(group, (_NAME, "a name"))
    owners = dict.fromkeys(ours, "the harness")
    additions = []
    for entry in metadata.entry_points(group=group):
        owner = _distribution(entry)
        refused = ""
        if entry.name in owners:
            refused = f"{entry.name} is taken by {owners[entry.name]}"
        elif not re.fullmatch(pattern, entry.name):
            refused = f"expected {form} of letters, digits, '_', '.' and '-'"
        else:
            owners[entry.name] = owner
        additions.append(Added(entry.name, entry.value, owner, refused))
    return additions


@cache
def origin(target: str) -> str:
    """Return the distribution with the entry point ``target``, and its version; empty for ours."""
    entries = () if target.startswith("harness.") else metadata.entry_points(value=target)
    return next(map(_distribution, entries), "")


def _distribution(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed package"


def extended(group: str, ours: Mapping[str, str]) -> dict[str, str]:
    """Return ``ours`` and what installed distributions add that is not refused."""
    return {**ours, **{a.name: a.target for a in added(group, ours) if not a.refused}}
