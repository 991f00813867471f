"""Names to objects: the plain dicts, what entry points add to them, and ``"module:attribute"``."""

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

    ``origin`` is the distribution and its version, ``refused`` why the name does not count, in one
    line; empty where it does.
    """

    name: str
    target: str
    origin: str
    refused: str = ""


def resolve(target: str) -> Any:
    """The module, or the attribute of it, that ``"module"`` or ``"module:attribute"`` names."""
    module, _, attribute = target.partition(":")
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def import_error(emit: object, target: str) -> str:
    """Return why ``target`` cannot be imported here, in one line; a child process is asked so."""
    try:
        return "" if callable(resolve(target)) else "it cannot be called"
    except Exception as error:
        return one_line(error)


def added(group: str, ours: Mapping[str, str]) -> list[Added]:
    """What installed distributions add to ``ours`` under the entry point group ``group``.

    Nothing of theirs is imported. A name of ours stays ours, and the first to take another has it.
    """
    pattern, form = _NAMES.get(group, (_NAME, "a name"))
    taken = dict.fromkeys(ours, "the harness")
    found = []
    for entry in metadata.entry_points(group=group):
        whose = _distribution(entry)
        refused = ""
        if entry.name in taken:
            refused = f"{entry.name} is taken by {taken[entry.name]}"
        elif not re.fullmatch(pattern, entry.name):
            refused = f"expected {form} of letters, digits, '_', '.' and '-'"
        else:
            taken[entry.name] = whose
        found.append(Added(entry.name, entry.value, whose, refused))
    return found


@cache
def origin(target: str) -> str:
    """The distribution, and its version, with the entry point ``target``; empty for ours."""
    theirs = () if target.startswith("harness.") else metadata.entry_points(value=target)
    return next(map(_distribution, theirs), "")


def _distribution(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed package"


def extended(group: str, ours: Mapping[str, str]) -> dict[str, str]:
    """``ours`` and what installed distributions add that is not refused."""
    theirs = {one.name: one.target for one in added(group, ours) if not one.refused}
    return {**ours, **theirs}
