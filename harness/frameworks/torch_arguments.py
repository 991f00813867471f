"""Arguments that are tuples or dictionaries of tensors, by the names of their parts.

The parts of ``hidden`` are ``hidden.0`` and ``hidden.1`` where it is a tuple, ``hidden.h`` where it
is a dictionary; a part may have parts itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.errors import UsageError


def argument_of(name: str, arguments: Sequence[str]) -> str:
    """Return the argument that an input is, or is a part of; ``""`` where there is none."""
    return (
        name if name in arguments else next((a for a in arguments if name.startswith(f"{a}.")), "")
    )


def arranged(names: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Return the inputs in the order of the arguments, and of places within a tuple.

    UsageError where a tuple lacks a place, or an argument is given whole and in parts.
    """
    result = []
    for argument in arguments:
        own = [name for name in names if argument_of(name, arguments) == argument]
        if argument in own and len(own) > 1:
            raise UsageError(f"input {argument!r} is described whole and in parts")
        result += own if argument in own else sorted(own, key=_place)
    nested({name: name for name in result}, arguments)
    return result


def nested(values: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the value of each argument, whose parts are in ``values``."""
    result: dict[str, Any] = {}
    for argument in dict.fromkeys(argument_of(name, arguments) for name in values):
        parts = {
            name.removeprefix(argument).lstrip("."): value
            for name, value in values.items()
            if argument_of(name, arguments) == argument
        }
        result[argument] = _value(parts, argument)
    return result


def _value(parts: Mapping[str, Any], what: str) -> Any:
    if "" in parts:
        return parts[""]
    by_key: dict[str, dict[str, Any]] = {}
    for name, value in parts.items():
        key, _, rest = name.partition(".")
        by_key.setdefault(key, {})[rest] = value
    values = {key: _value(own, f"{what}.{key}") for key, own in by_key.items()}
    if not any(key.isdecimal() for key in values):
        return values
    places = [str(place) for place in range(len(values))]
    if {*places} != {*values}:
        expected = ", ".join(f"{what}.{place}" for place in places)
        raise UsageError(
            f"the parts of {what!r} are {', '.join(sorted(values))}; expected {expected}"
        )
    return tuple(values[place] for place in places)


def _place(name: str) -> list[tuple[int, str]]:
    return [(int(key), "") if key.isdecimal() else (0, key) for key in name.split(".")]
