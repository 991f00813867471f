"""Descriptions of a model's inputs, read from the command line, a TOML file or the Python API.

One input is one line::

    tokens: int64[batch, sequence] in 0..9999, padding 0
    frames: float32[batch, time, 40] in -3..3, normal
    mask: float32[batch, sequence], mask of sequence, right
    hidden: bool[batch, sequence], padding mask of sequence
    lengths: int64[batch], lengths of sequence

Every part after the name may be left out where the model says it. Both bounds of a range belong to
it; for floats the upper one is never drawn. With ``right``, padding is only at the end of a row;
with ``never empty`` no row is padded throughout; with ``valid steps only`` padded steps of outputs
are not compared. A ``padding mask`` is 1 at padded steps and 0 at valid ones, an ``additive mask``
-1e9 and 0. ``no padding`` switches off what the model itself says of it. ``may be nan`` says that a
float input may hold NaN, with which the export has to do what the model does.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.axis_rules import AxisRule
from harness.core.errors import UsageError, clipped
from harness.core.names import visible
from harness.core.reading import TEXT_BYTES, read_bytes
from harness.core.schema import BATCH, Axis
from harness.subjects import axis_lines
from harness.subjects.description import InputDescription, ModelDescription

EXAMPLE = "'tokens: int64[batch, sequence] in 0..9999, padding 0'"
DTYPES = ("float32", "int64", "int32", "int16", "int8", "uint8", "bool")
KEYS = ("inputs", "outputs", "lengths", "batch", "states", "name")
LONGEST = 1000
"""Characters of a line."""
LARGEST = 2**31
FLAGS = {
    "normal": "normal",
    "right": "right",
    "never empty": "never_empty",
    "valid steps only": "valid_only",
    "may be nan": "nan",
    "no padding": "no_padding",
}
"""The words that say one thing, and the field of each."""
_LINE = re.compile(r"\s*(?P<name>\S*[^\s:](?=\s*:\s)|[^\s:]+)\s*:\s*(?P<text>.*)$")
_EQUAL = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)\s*(?P<text>=.*)$")
_TYPE = re.compile(r"(?P<dtype>\w+)?\s*(?:\[(?P<axes>[^\]]*)\])?\s*")
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"in\s+(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})$")
_PADDING = re.compile(rf"padding\s+(?P<value>{_NUMBER})$")
_OF = re.compile(
    r"(?P<causal>causal\s+)?(?P<kind>(?:padding|additive)\s+)?(?P<what>mask|lengths)\s+of\s+"
    r"(?P<axis>[\w+* ]+)$"
)
MARKS = {"": None, "padding": (0.0, 1.0), "additive": (0.0, -1e9)}
"""What a mask holds at valid and at padded steps, by the word before it; None for 1 and 0."""


def line(text: str) -> InputDescription:
    """Return the input that a line describes; UsageError quotes what is not understood."""
    return _input(*_pair(text))


def _model(lines: Iterable[tuple[str, str]], **more: Any) -> ModelDescription:
    """Return the model that these lines describe, of inputs and of sequence axes."""
    inputs, rules = [], {}
    for name, text in lines:
        found = axis_lines.rule(name, text) if len(text) <= LONGEST else None
        if found is None:
            inputs.append(_input(name, text))
        else:
            rules[name] = found
    return ModelDescription(tuple(inputs), rules=rules, **more)


def _pair(text: str) -> tuple[str, str]:
    """Return the name and the rest of a line, of an input or as ``frames = 4 * tokens``."""
    if len(text) <= LONGEST and (match := _EQUAL.match(text)):
        return match["name"], match["text"]
    match = _LINE.match(text) if len(text) <= LONGEST else None
    if match is None:
        raise UsageError(f"{clipped(text)!r} describes no input; expected a line such as {EXAMPLE}")
    return match["name"], match["text"]


def _input(name: str, text: str) -> InputDescription:
    if len(name) + len(text) > LONGEST:
        raise UsageError(f"input {clipped(name)!r}: expected at most {LONGEST} characters")
    kind, words = _split(text)
    match = _TYPE.fullmatch(kind)
    if match is None:
        raise UsageError(f"input {name!r}: {kind!r} is no type; expected one as in {EXAMPLE}")
    dtype = match["dtype"]
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(
            f"input {name!r}: unknown dtype {dtype!r}; choose from: {', '.join(DTYPES)}"
        )
    axes, rules = (None, {}) if match["axes"] is None else _axes(name, match["axes"])
    described = InputDescription(name, dtype, axes, rules=rules)
    for word in words:
        described = _with(described, word)
    if described.normal and described.low is None:
        raise UsageError(f"input {name!r}: normal needs a range: in LOW..HIGH, six deviations wide")
    return described


def _split(text: str) -> tuple[str, list[str]]:
    """Return the type and the words after it: split at ``in`` and at commas outside brackets."""
    parts = re.split(r",(?![^\[]*\])", text)
    head = re.split(r"(?:^|(?<=[\s\]]))(?=in\s)", parts[0].strip(), maxsplit=1)
    words = [part.strip() for part in [*head[1:], *parts[1:]]]
    kind = head[0].strip()
    if kind and not _TYPE.fullmatch(kind):
        return "", [kind, *words]
    return kind, words


def _axis(text: str) -> str:
    """Return the name of an axis that may be written as a sum."""
    return axis_lines.name_of(text) if axis_lines.is_sum(text) else text.strip()


def _check_causal(described: InputDescription, word: str) -> None:
    """Raise UsageError where a causal mask's last two axes are no steps of queries and keys."""
    last = (described.axes or ())[-2:]
    if described.axes is not None and (len(last) < 2 or not all(isinstance(a, str) for a in last)):
        raise UsageError(
            f"input {described.name!r}: {word!r} needs axes [time, time], or [time, past + time],"
            " after others"
        )


def _axes(name: str, text: str) -> tuple[tuple[Axis | None, ...], dict[str, AxisRule]]:
    """Return the axes, and the rules of those that are written as sums."""
    axes: list[Axis | None] = []
    rules: dict[str, AxisRule] = {}
    for part in (piece.strip() for piece in text.split(",") if piece.strip()):
        if part.isdecimal() and 0 < int(part) < LARGEST:
            axes.append(int(part))
        elif part.isidentifier():
            axes.append(part)
        elif part == "?":
            axes.append(None)
        elif axis_lines.is_sum(part):
            axes.append(_axis(part))
            rules[_axis(part)] = axis_lines.of_terms(_axis(part), part)
        else:
            raise UsageError(
                f"input {name!r}: axis {part!r} is neither a name nor a size; expected axes as in"
                f" {EXAMPLE}"
            )
    if axes.count(BATCH) > 1:
        raise UsageError(f"input {name!r}: [{text}] has the batch twice")
    return tuple(axes), rules


def _with(described: InputDescription, word: str) -> InputDescription:
    """Return the description with one more word of its line; UsageError for an unknown one."""
    name, dtype = described.name, described.dtype
    changes: dict[str, Any]
    if match := _RANGE.match(word):
        low, high = float(match["low"]), float(match["high"])
        if not math.isfinite(high - low):
            raise UsageError(f"input {name!r}: the range {word[3:]!r} is not finite")
        integers = low.is_integer() and high.is_integer()
        whole = integers if dtype is None else not dtype.startswith("float")
        if low > high or (low == high and not whole):
            raise UsageError(f"input {name!r}: the range {word[3:]!r} is empty")
        if whole and not integers:
            raise UsageError(f"input {name!r} is {dtype}; its range needs integers")
        changes = {"low": low, "high": high}
    elif match := _PADDING.match(word):
        if not math.isfinite(value := float(match["value"])):
            raise UsageError(f"input {name!r}: the padding {match['value']} is not finite")
        changes = {"padding": value}
    elif (match := _OF.match(word)) and match["what"] == "mask":
        marks = MARKS[(match["kind"] or "").strip()]
        if marks is MARKS["additive"] and dtype is not None and not dtype.startswith("float"):
            raise UsageError(f"input {name!r} is {dtype}; an additive mask is float32")
        changes = {"mask_of": _axis(match["axis"]), "marks": marks}
        if match["causal"]:
            _check_causal(described, word)
            changes = {"causal": marks or (1.0, 0.0)}
    elif match and not match["kind"] and not match["causal"]:
        changes = {"lengths_of": _axis(match["axis"])}
    elif (flag := " ".join(word.split())) in FLAGS:
        if flag == "may be nan" and dtype is not None and not dtype.startswith("float"):
            raise UsageError(f"input {name!r} is {dtype}, which has no NaN")
        changes = {FLAGS[flag]: True}
    else:
        raise UsageError(
            f"input {name!r}: {word!r} is not understood; expected: in LOW..HIGH, normal,"
            " padding VALUE, no padding, mask of AXIS, padding mask of AXIS, additive mask of"
            " AXIS, causal mask of AXIS, lengths of AXIS, right, never empty, valid steps only, may"
            " be nan"
        )
    return replace(described, **changes)


def file(path: Path) -> ModelDescription:
    """Return what a TOML file says: ``[inputs]``, a line for each name, ``outputs``, ``lengths``, …

    UsageError where it is missing, no TOML, or has an unknown key or line.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file; expected a TOML file with [inputs]")
    data = read_bytes(path, TEXT_BYTES)
    try:
        table = tomllib.loads(data.decode())
    except (ValueError, RecursionError, MemoryError) as error:
        why = visible(str(error) or type(error).__name__)
        raise UsageError(f"{path} is not TOML: {why}") from None
    if unknown := sorted(set(table) - set(KEYS)):
        raise UsageError(
            f"{path}: unknown key {clipped(unknown[0])!r}; choose from: {', '.join(KEYS)}"
        )
    inputs, states = table.get("inputs", {}), table.get("states", {})
    for key, value in (("inputs", inputs), ("states", states)):
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise UsageError(f'{path}: [{key}] expects lines such as tokens = "int64[batch, …]"')
    try:
        return _model(
            inputs.items(),
            outputs=_texts(table.get("outputs", [])),
            lengths=_texts(table.get("lengths", [])),
            batch=_texts(table.get("batch", [])),
            states=states,
            name=str(table.get("name", "")),
        )
    except (UsageError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None


def description(inputs: Any) -> ModelDescription:
    """Return the description in None, a line or several, a TOML file's path, or a mapping."""
    if inputs is None:
        return ModelDescription()
    if isinstance(inputs, ModelDescription):
        return inputs
    if isinstance(inputs, Path):
        return file(inputs)
    if isinstance(inputs, str):
        if inputs.endswith(".toml"):
            return file(Path(inputs))
        return _model([_pair(inputs)])
    if isinstance(inputs, Mapping):
        return _model((str(k), str(v)) for k, v in inputs.items())
    if not isinstance(inputs, Iterable):
        raise UsageError(f"inputs is {inputs!r}; expected a description such as {EXAMPLE}")
    return _model(_pair(str(text)) for text in inputs)


def complete(described: InputDescription, single: bool) -> InputDescription:
    """Return the description with a range and named axes; UsageError where it lacks more.

    The first dynamic axis is the batch, unless the description says otherwise; the other one is
    ``sequence`` where the model has a ``single`` input, else it is named after its input.
    """
    name, dtype = described.name, described.dtype
    if described.axes is None or dtype is None:
        lacks = "its dtype and axes" if dtype is None else "its axes"
        raise UsageError(
            f"input {name!r} needs a description of {lacks}, such as"
            f" '{name}: {dtype or 'float32'}[batch, sequence, 40]'"
        )
    if dtype not in DTYPES:
        raise UsageError(f"input {name!r} is {dtype}; expected {', '.join(DTYPES)}")
    axes = _named("sequence" if single else f"{name}_length", described.axes)
    return _ranged(replace(described, axes=axes), dtype)


def _named(length: str, axes: tuple[Axis | None, ...]) -> tuple[Axis, ...]:
    """Return the axes with a name for each one that is None, ``length`` for the first sequence."""
    used = {axis for axis in axes if isinstance(axis, str)}
    length = re.sub(r"\W", "_", length)
    names = chain([length], (f"{length}_{i}" for i in count(2)))
    free = (name for name in names if name not in used)
    named: list[Axis] = []
    for place, axis in enumerate(axes):
        if axis is not None:
            named.append(axis)
        else:
            named.append(BATCH if place == 0 and BATCH not in used else next(free))
    return tuple(named)


def _ranged(described: InputDescription, dtype: str) -> InputDescription:
    """Return the description with the range to draw from, which excludes ``high`` and padding."""
    name, padding = described.name, described.padding
    if described.mask_of or described.causal or described.lengths_of or dtype == "bool":
        return replace(described, low=0.0, high=2.0)
    whole = described.whole or not dtype.startswith("float")
    if described.low is None or described.high is None:
        if whole:
            raise UsageError(
                f"input {name!r} is {dtype} and needs its range:"
                f" '{name}: in 0..9999', or what its values are{_counts(described)}"
            )
        return replace(described, low=-1.0, high=1.0)
    if not whole:
        return described
    bounds = np.iinfo(np.int32 if described.whole else dtype)
    if described.low < bounds.min or described.high > bounds.max:
        span = f"{described.low:.0f}..{described.high:.0f}"
        raise UsageError(f"input {name!r}: {span} is beyond {dtype}")
    low, high = int(described.low), int(described.high)
    if padding is not None:
        low += padding == low
        high -= padding == high
        if low <= padding <= high:
            raise UsageError(
                f"input {name!r}: padding {padding:.0f} lies within {low}..{high}; expected"
                " it at an end of the range or outside"
            )
        if low > high:
            raise UsageError(f"input {name!r}: nothing is left of its range but the padding")
    return replace(described, low=float(low), high=float(high + 1))


def _counts(described: InputDescription) -> str:
    """Return a hint where one integer for each row may be the number of its valid steps."""
    by_row = described.axes == (BATCH,)
    return f": '{described.name}: lengths of AXIS' for numbers of valid steps" if by_row else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in (value if isinstance(value, list) else [value]))
