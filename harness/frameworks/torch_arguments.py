"""Arguments that are tuples or dictionaries of tensors, by the names of their parts.

The parts of ``hidden`` are ``hidden.0`` and ``hidden.1`` where it is a tuple, ``hidden.h`` where it
is a dictionary; a part may have parts itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

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


class ByName(nn.Module):  # type: ignore[misc]
    """Calls a module by the names of some of its inputs, which may be parts of its arguments."""

    def __init__(self, module: nn.Module, names: Sequence[str], own: Sequence[str]) -> None:
        super().__init__()
        self.module, self._names, self._own = module, tuple(names), tuple(own)

    def forward(self, *arguments: Tensor) -> Any:
        values = dict(zip(self._names, arguments, strict=True))
        return self.module(**nested(values, self._own))


def call(module: Any, names: Sequence[str], arguments: Sequence[Tensor], by_name: bool) -> Any:
    """Call a module by name, unless its ``forward`` has variadic or unknown parameters."""
    own: list[str] = []
    try:
        parameters = inspect.signature(module.forward).parameters.values()
        own = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        variadic = by_name and any(p.kind is p.VAR_POSITIONAL for p in parameters)
    except (TypeError, ValueError):
        variadic = True
    if by_name and not variadic:
        values = dict(zip(names, arguments, strict=True))
        return module(**nested(values, own or [*names]))
    return module(*arguments)
