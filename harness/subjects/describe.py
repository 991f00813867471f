"""What a user says of a model's inputs, on the command line or in a TOML file.

One input is one line::

    tokens: int64[batch, sequence] in 0..9999, padding 0
    frames: float32[batch, time, 40] in -3..3, normal
    mask: float32[batch, sequence], mask of sequence, right
    lengths: int64[batch], lengths of sequence

Every part after the name may be left out where the model says it. Both bounds of a range belong to
it; for floats the upper one is never drawn. ``right`` says that padding lies at the end of a row
alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import UsageError
from harness.core.schema import BATCH, Axis
from harness.subjects.described import Described, Description

EXAMPLE = "'tokens: int64[batch, sequence] in 0..9999, padding 0'"
DTYPES = ("float32", "int64", "int32", "int16", "int8", "uint8", "bool")
KEYS = ("inputs", "outputs", "lengths", "batch", "states", "name")


_LINE = re.compile(r"\s*(?P<name>\S*[^\s:](?=\s*:\s)|[^\s:]+)\s*:\s*(?P<rest>.*)$")
_TYPE = re.compile(r"(?P<dtype>\w+)?\s*(?:\[(?P<axes>[^\]]*)\])?\s*")
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"in\s+(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})$")
_PADDING = re.compile(rf"padding\s+(?P<value>{_NUMBER})$")
_OF = re.compile(r"(?P<what>mask|lengths)\s+of\s+(?P<axis>\w+)$")


def line(text: str) -> Described:
    """One input from its line; UsageError quotes what is not understood."""
    found = _LINE.match(text)
    if found is None:
        raise UsageError(f"{text!r} describes no input; expected a line such as {EXAMPLE}")
    return _described(found["name"], found["rest"])


def _described(name: str, rest: str) -> Described:
    body, words = _split(rest)
    kind = _TYPE.fullmatch(body)
    if kind is None:
        raise UsageError(f"input {name!r}: {body!r} is no type; expected one as in {EXAMPLE}")
    dtype = kind["dtype"]
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"input {name!r}: unknown dtype {dtype!r}; choose from: {_listed(DTYPES)}")
    axes = None if kind["axes"] is None else _axes(name, kind["axes"])
    result = Described(name, dtype, axes)
    for word in words:
        result = _with(result, word)
    if result.normal and result.low is None:
        raise UsageError(f"input {name!r}: normal needs a range: in LOW..HIGH, six deviations wide")
    return result


def _split(rest: str) -> tuple[str, list[str]]:
    """The type, and what follows it: split at commas outside brackets and before ``in``."""
    parts = re.split(r",(?![^\[]*\])", rest)
    head = re.split(r"(?:^|(?<=[\s\]]))(?=in\s)", parts[0].strip(), maxsplit=1)
    told = [part.strip() for part in [*head[1:], *parts[1:]]]
    body = head[0].strip()
    if body and not _TYPE.fullmatch(body):
        told.insert(0, body)
        body = ""
    return body, told


def _axes(name: str, text: str) -> tuple[Axis | None, ...]:
    axes: list[Axis | None] = []
    for part in (piece.strip() for piece in text.split(",") if piece.strip()):
        if part.isdecimal() and int(part):
            axes.append(int(part))
        elif part.isidentifier():
            axes.append(part)
        elif part == "?":
            axes.append(None)
        else:
            raise UsageError(
                f"input {name!r}: axis {part!r} is neither a name nor a size; expected axes as in"
                f" {EXAMPLE}"
            )
    named = [axis for axis in axes if isinstance(axis, str)]
    if len(named) != len(set(named)):
        raise UsageError(f"input {name!r}: [{text}] has one axis twice")
    return tuple(axes)


def _with(so_far: Described, word: str) -> Described:
    if found := _RANGE.match(word):
        low, high = float(found["low"]), float(found["high"])
        whole = so_far.dtype is not None and not so_far.dtype.startswith("float")
        whole = whole or (so_far.dtype is None and (low, high) == (int(low), int(high)))
        if low > high or (low == high and not whole):
            raise UsageError(f"input {so_far.name!r}: the range {word[3:]!r} is empty")
        if so_far.dtype is not None and whole and (low != int(low) or high != int(high)):
            raise UsageError(f"input {so_far.name!r} is {so_far.dtype}; its range needs integers")
        return replace(so_far, low=low, high=high)
    if found := _PADDING.match(word):
        return replace(so_far, padding=float(found["value"]))
    if found := _OF.match(word):
        if found["what"] == "mask":
            return replace(so_far, mask_of=found["axis"])
        return replace(so_far, lengths_of=found["axis"])
    if word == "normal":
        return replace(so_far, normal=True)
    if word == "right":
        return replace(so_far, right=True)
    raise UsageError(
        f"input {so_far.name!r}: {word!r} is not understood; expected: in LOW..HIGH, normal,"
        " padding VALUE, mask of AXIS, right, lengths of AXIS"
    )


def file(path: Path) -> Description:
    """A TOML file: ``[inputs]`` with a line for each name, and ``outputs``, ``lengths``, …"""
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; expected a TOML file with [inputs]") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a TOML file with [inputs]") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    if odd := sorted(set(table) - set(KEYS)):
        raise UsageError(f"{path}: unknown key {odd[0]!r}; choose from: {_listed(KEYS)}")
    inputs, states = table.get("inputs", {}), table.get("states", {})
    for key, value in (("inputs", inputs), ("states", states)):
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise UsageError(f'{path}: [{key}] expects lines such as tokens = "int64[batch, …]"')
    try:
        return Description(
            tuple(_described(name, text) for name, text in inputs.items()),
            _texts(table.get("outputs", [])),
            _texts(table.get("lengths", [])),
            _texts(table.get("batch", [])),
            states,
            str(table.get("name", "")),
        )
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def description(inputs: Any) -> Description:
    """From the API: None, a line or several, a TOML file's path, or a mapping of name to text."""
    if inputs is None:
        return Description()
    if isinstance(inputs, Description):
        return inputs
    if isinstance(inputs, Path):
        return file(inputs)
    if isinstance(inputs, str):
        if inputs.endswith(".toml"):
            return file(Path(inputs))
        return Description((line(inputs),))
    if isinstance(inputs, Mapping):
        return Description(tuple(_described(str(k), str(v)) for k, v in inputs.items()))
    if not isinstance(inputs, Iterable):
        raise UsageError(f"inputs is {inputs!r}; expected a description such as {EXAMPLE}")
    return Description(tuple(line(str(text)) for text in inputs))


def complete(one: Described, single: bool) -> Described:
    """``one`` with names for its dynamic axes and a range; UsageError says what it lacks.

    The first dynamic axis is the batch, unless the description says otherwise; the other one is
    ``sequence`` where the model has a ``single`` input, else it is named after its input.
    """
    if one.axes is None or one.dtype is None:
        lacks = "its dtype and axes" if one.dtype is None else "its axes"
        raise UsageError(
            f"input {one.name!r} needs a description of {lacks}: --input {EXAMPLE}, with its name"
        )
    if one.dtype not in DTYPES:
        raise UsageError(f"input {one.name!r} is {one.dtype}; expected {_listed(DTYPES)}")
    one = replace(one, axes=_named(one, one.axes, single))
    return _ranged(one)


def _named(one: Described, axes: tuple[Axis | None, ...], single: bool) -> tuple[Axis, ...]:
    taken = {axis for axis in axes if isinstance(axis, str)}
    free = ["sequence"] if single else [re.sub(r"\W", "_", f"{one.name}_length")]
    free += [f"{free[0]}_{n}" for n in range(2, 9)]
    names = iter([name for name in free if name not in taken])
    named: list[Axis] = []
    for place, axis in enumerate(axes):
        if axis is not None:
            named.append(axis)
        elif place == 0 and BATCH not in taken:
            named.append(BATCH)
        else:
            named.append(next(names))
    return tuple(named)


def _ranged(one: Described) -> Described:
    assert one.dtype is not None
    if one.mask_of or one.lengths_of or one.dtype == "bool":
        return replace(one, low=0.0, high=2.0)
    whole = one.whole or not one.dtype.startswith("float")
    if one.low is None or one.high is None:
        if whole:
            raise UsageError(
                f"input {one.name!r} is {one.dtype} and needs its range:"
                f" --input '{one.name}: in 0..9999', or what its values are"
            )
        return replace(one, low=-1.0, high=1.0)
    if not whole:
        return one
    bounds = np.iinfo(np.int32 if one.whole else one.dtype)
    if one.low < bounds.min or one.high > bounds.max:
        raise UsageError(f"input {one.name!r}: {one.low:.0f}..{one.high:.0f} is beyond {one.dtype}")
    low, high = int(one.low), int(one.high)
    if one.padding is not None:
        low += one.padding == low
        high -= one.padding == high
        if low <= one.padding <= high:
            raise UsageError(
                f"input {one.name!r}: padding {one.padding:.0f} lies within {low}..{high}; expected"
                " it at an end of the range or outside"
            )
        if low > high:
            raise UsageError(f"input {one.name!r}: nothing is left of its range but the padding")
    return replace(one, low=float(low), high=float(high + 1))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in (value if isinstance(value, list) else [value]))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
