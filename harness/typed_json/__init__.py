"""From dataclasses to plain JSON values, and strictly back: known keys, types as declared.

A boolean is no number, a string is no number, and a whole number may stand for a fraction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import msgspec
import numpy as np

from harness.core.errors import UsageError, flattened

T = TypeVar("T")
Size = Annotated[int, msgspec.Meta(ge=0)]
Magnitude = Annotated[float, msgspec.Meta(ge=0)]
_WORDING = {
    "Object missing required field": "it has no",
    "Object contains unknown field": "it has no place for",
    "`": "'",
}


def plain(value: Any) -> Any:
    """Return ``value`` as JSON has it, dataclasses and mappings as dicts, NumPy numbers plain.

    TypeError where JSON has nothing like it.
    """
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_plain)


def form(name: str, fields: Mapping[str, Any], **defaults: Any) -> type[msgspec.Struct]:
    """Return the type of an object with exactly these fields, by their types.

    Only a field with a default may be missing.
    """
    listed = [(n, kind, defaults[n]) if n in defaults else (n, kind) for n, kind in fields.items()]
    return msgspec.defstruct(name, listed, kw_only=True, forbid_unknown_fields=True)


def typed(data: Any, kind: type[T], what: str, within: str = "") -> T:
    """Return ``data``, which lies at the place ``within`` of a document, as ``kind``.

    UsageError, in one line that begins with ``what``, names what is of another type and its place.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        place = place.rstrip("`").lstrip(".")
        if message.startswith("Invalid enum value"):
            message += f", expected {_choices(place, kind)}"
        for old, new in _WORDING.items():
            message = message.replace(old, new)
        message = message[:1].lower() + message[1:]
        place = ".".join(filter(None, [within, place]))
        raise UsageError(flattened(f"{what}: {message}{place and f' at {place}'}")) from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"JSON has nothing like {type(value).__name__}")


def _choices(place: str, kind: Any) -> str:
    """Return the values of the enumeration declared for a place, such as ``results[3].status``."""
    for name in ("", *re.findall(r"\w+|\.{3}", place)):
        inner = get_args(kind)
        if name == "...":
            kind = next(one for one in reversed(inner) if one is not Ellipsis)
        elif name:
            kind = inner[0] if inner else get_type_hints(kind)[name]
        if NoneType in get_args(kind):
            kind = get_args(kind)[0]
    return ", ".join(map(str, get_args(kind) or kind))
