"""Inputs for ``eager.py`` at any length, batch and padding, drawn from what a user describes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from harness.core.axis_rules import AxisRule, fitted
from harness.subjects.description import InputDescription, ModelDescription

LENGTHS = (1, 127, 4, 90, 6, 160, 11, 47, 23)
"""Short and long in turn; only 1 is among those that ``run.py`` exports at."""
SPARE = (2, 57, 3, 31, 9, 17, 75, 13, 40)
"""Taken in place of lengths that the model itself refuses."""
BATCHES = (1, 2, 4, 7)
PADDINGS = {
    "full": (1.0,),
    "mixed": (0.5, 1.0, 0.0001, 0.75),
    "short": (0.9, 0.0001, 0.5),
    "empty": (0.5, 1.0, 0.0, 0.0001),
    "left": (0.5, 1.0, 0.0001, 0.75),
    "gapped": (),
}
"""The part of its steps that each row in turn keeps; of a hair of them, one. No row of ``short``
is full.
"""
BATCH = "batch"
Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
Sizes = Mapping[str, int]
Valid = Mapping[str, Array]
"""The steps of each padded axis that are valid, [batch, steps] bool."""
Said = Callable[[str, str], InputDescription]


@dataclass(frozen=True)
class Input:
    described: InputDescription
    dtype: str
    axes: tuple[Any, ...]

    @property
    def ragged(self) -> str | None:
        """The axis whose padding this input tells."""
        one = self.described
        if one.padding is not None:
            return next((a for a in self.axes if isinstance(a, str) and a != BATCH), None)
        return one.mask_of or (one.lengths_of if BATCH in self.axes else None)


def inputs_of(graph: onnx.GraphProto, said: Said, description: ModelDescription) -> list[Input]:
    """Return every input that the description or the graph has.

    Axes are the described ones; what no line describes is ``said`` by the model.
    """
    types = {t.name: t.type.tensor_type for t in graph.input}
    described = {one.name: one for one in description.inputs}
    result = []
    for name in dict.fromkeys([*described, *types]):
        one = described.get(name, InputDescription(name))
        dtype, axes = one.dtype, one.axes or ()
        if name in types:
            declared = [d.dim_param or d.dim_value for d in types[name].shape.dim]
            pairs = zip(axes or declared, declared, strict=True)
            axes = tuple(other if own is None else own for own, other in pairs)
            dtype = dtype or onnx.helper.tensor_dtype_to_np_dtype(types[name].elem_type).name
        result.append(Input(one.over(said(name, str(dtype))), str(dtype), axes))
    return result


def rules_of(description: ModelDescription) -> dict[str, AxisRule]:
    rules = dict(description.rules)
    for one in description.inputs:
        rules |= one.rules
    return rules


def sizes(
    inputs: Sequence[Input], rules: Mapping[str, AxisRule], lengths: Sequence[int]
) -> Iterator[dict[str, int]]:
    """Yield distinct lengths of all sequence axes: those asked for, another for each, then more."""
    named = dict.fromkeys(a for one in inputs for a in one.axes if isinstance(a, str))
    free = [a for a in named if a != BATCH and not (a in rules and rules[a].terms)]
    every, seen = (*lengths, *SPARE), set()
    for place in range(len(every)):
        turned = {axis: every[(place + 2 * n) % len(every)] for n, axis in enumerate(free)}
        found = fitted(rules, turned)
        if (key := tuple(found.items())) not in seen:
            seen.add(key)
            yield found


def paddings(
    inputs: Sequence[Input], batch: int, lengths: Sizes, rng: np.random.Generator
) -> Iterator[tuple[str, Valid]]:
    """Yield each kind of padding that the inputs may have, with what is valid in it."""
    ragged = list(dict.fromkeys(one.ragged for one in inputs if one.ragged))
    given, kinds = [one.described for one in inputs], list(PADDINGS)
    if any(one.right or one.lengths_of for one in given):
        kinds = [kind for kind in kinds if kind not in ("left", "gapped")]
    if any(one.never_empty for one in given):
        kinds.remove("empty")
    seen = set()
    for kind in kinds if ragged else kinds[:1]:
        valid = {a: _valid(kind, batch, lengths[a], n, rng) for n, a in enumerate(ragged)}
        if (key := b"".join(rows.tobytes() for rows in valid.values())) not in seen:
            seen.add(key)
            yield kind, valid


def _valid(kind: str, batch: int, steps: int, turn: int, rng: np.random.Generator) -> Array:
    if kind == "gapped":
        valid = rng.random((batch, steps)) < 0.6
        valid[:, steps // 2] = True
        return valid
    parts = np.resize(np.roll(PADDINGS[kind], turn), batch)
    count = np.clip(np.ceil(parts * steps), 0, max(steps - (kind == "short"), 1))
    places = np.arange(steps)
    return (places[::-1] if kind == "left" else places)[None] < count[:, None]


def values(one: Input, lengths: Sizes, valid: Valid, rng: np.random.Generator) -> Array:
    """Return an input's values: any at padded steps too, unless it is what tells of them."""
    said, dtype = one.described, np.dtype(one.dtype)
    shape = tuple(lengths[axis] if isinstance(axis, str) else axis for axis in one.axes)
    if said.lengths_of:
        rows = valid.get(said.lengths_of) if BATCH in one.axes else None
        length = lengths[said.lengths_of] if rows is None else rows.sum(1)
        return np.broadcast_to(np.asarray(length, dtype), shape).copy()
    if said.causal:
        seen = np.tri(*shape[-2:], shape[-1] - shape[-2], dtype=bool)
        return np.broadcast_to(np.where(seen, *said.causal).astype(dtype), shape).copy()
    if said.mask_of:
        rows = np.where(valid[said.mask_of], *(said.marks or (1.0, 0.0))).astype(dtype)
        return np.broadcast_to(along(rows, one.axes, said.mask_of), shape).copy()
    value = _drawn(said, dtype, shape, rng)
    if said.padding is not None and one.ragged in valid:
        kept = along(valid[one.ragged], one.axes, one.ragged)
        value = np.where(kept, value, np.asarray(said.padding, dtype))
    return value


def along(rows: Array, axes: Sequence[Any], axis: str) -> Array:
    """Return [batch, steps] with an axis of size 1 for each other one of ``axes``."""
    rows = np.expand_dims(rows, tuple(range(2, len(axes))))
    return np.moveaxis(rows, (0, 1), (axes.index(BATCH), axes.index(axis)))


def _drawn(
    said: InputDescription, dtype: np.dtype[Any], shape: tuple[int, ...], rng: np.random.Generator
) -> Array:
    low = -1.0 if said.low is None else said.low
    high = 1.0 if said.high is None else said.high
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu" or said.whole:
        numbers = np.arange(int(low), int(high) + 1)
        return rng.choice(numbers[numbers != said.padding], shape).astype(dtype)
    value = rng.uniform(low, high, shape).astype(dtype)
    return np.where(rng.random(shape) < 0.02, np.nan, value).astype(dtype) if said.nan else value
