"""From dataclasses to what JSON can hold, and strictly back: each key known, each type as declared.

A boolean is no number, a string is no number, and a whole number may stand for a fraction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
import numpy as np

from harness.core.errors import UsageError, flattened

T = TypeVar("T")
_SAID = {
    "Object missing required field": "it has no",
    "Object contains unknown field": "it has no place for",
    "`": "'",
}


def plain(value: Any) -> Any:
    """Return ``value`` as JSON has it; dataclasses and mappings become dicts.

    Numbers of NumPy become Python's. TypeError where JSON has nothing like it.
    """
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_plain)


def form(name: str, fields: Mapping[str, Any], **defaults: Any) -> type[msgspec.Struct]:
    """Return the type of an object that has these fields, by their types, and no others.

    Only a field that ``defaults`` names may be missing.
    """
    listed = [(n, kind, defaults[n]) if n in defaults else (n, kind) for n, kind in fields.items()]
    return msgspec.defstruct(name, listed, kw_only=True, forbid_unknown_fields=True)


def typed(data: Any, kind: type[T], what: str) -> T:
    """Return ``data`` as ``kind``.

    UsageError, in one line that begins with ``what``, says what is of another type and where.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$")
        place = place.rstrip("`").lstrip(".")
        if said.startswith("Invalid enum value"):
            said += f", expected {_choices(place, kind)}"
        for old, new in _SAID.items():
            said = said.replace(old, new)
        said = said[:1].lower() + said[1:]
        raise UsageError(flattened(f"{what}: {said}{place and f' at {place}'}")) from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"JSON has nothing like {type(value).__name__}")


def _choices(place: str, kind: Any) -> str:
    """The values of the enumeration declared for ``place``, such as ``results[3].status``."""
    for name in ("", *re.findall(r"\w+|\.{3}", place)):
        inner = get_args(kind)
        if name == "...":
            kind = inner[-1]
        elif name:
            kind = inner[0] if inner else get_type_hints(kind)[name]
        if NoneType in get_args(kind):
            kind = get_args(kind)[0]
    return ", ".join(get_args(kind) or kind)
