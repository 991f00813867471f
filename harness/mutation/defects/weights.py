"""Defects of the stored numbers: rounded, shifted, swapped or slightly changed weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from harness.core.schema import Array
from harness.graphs.attributes import attribute
from harness.graphs.edit import Edit
from harness.graphs.narrow import bfloat16, float16, tf32
from harness.graphs.recurrent import INITIAL_C, INITIAL_H, B, P, R, W, is_recurrent
from harness.mutation.defects.defect import Mutant, Specimen, copied, each, place

ROLES = {W: "W", R: "R", B: "B", INITIAL_H: "h0", INITIAL_C: "c0", P: "P"}
"""Names, in a table, of the inputs of a recurrent node that may be weights."""

RELATIVE = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7)

Rounding = Callable[[Array, int], Array]
"""Rounds a tensor whose channels lie along an axis."""


def weights_as_float16(subject: Specimen) -> Iterator[Mutant]:
    """The weights are rounded to float16."""
    return _rounded(subject, lambda values, _: float16(values))


def weights_as_bfloat16(subject: Specimen) -> Iterator[Mutant]:
    """The weights are rounded to bfloat16, 7 bits of mantissa."""
    return _rounded(subject, lambda values, _: bfloat16(values))


def weights_as_tf32(subject: Specimen) -> Iterator[Mutant]:
    """The weights are rounded to TF32, 10 bits of mantissa."""
    return _rounded(subject, lambda values, _: tf32(values))


def weights_as_int8(subject: Specimen) -> Iterator[Mutant]:
    """The weight matrices are rounded to int8 with one scale each."""
    return _rounded(subject, lambda values, _: _int8(values, None))


def weights_as_int8_per_channel(subject: Specimen) -> Iterator[Mutant]:
    """The weight matrices are rounded to int8 with one scale for each channel."""
    return _rounded(subject, _int8)


def constant_folded_at_float16(subject: Specimen) -> Iterator[Mutant]:
    """One weight tensor went through float16."""
    for weight, values in _weights(subject):
        yield from _replaced(subject, weight, float16(values), "")


def embedding_row_zeroed(subject: Specimen) -> Iterator[Mutant]:
    """The first or the last row of an embedding is zero."""
    for table, values in _embeddings(subject):
        for which, row in (("first row", 0), ("last row", -1)):
            changed = values.copy()
            changed[row] = 0
            yield from _replaced(subject, table, changed, which)


def embedding_rows_shifted(subject: Specimen) -> Iterator[Mutant]:
    """An embedding gives for every id the row of the id before."""
    for table, values in _embeddings(subject):
        yield from _replaced(subject, table, np.roll(values, 1, axis=0), "")


def ids_off_by_one(subject: Specimen) -> Iterator[Mutant]:
    """An embedding is asked for the next or the previous id, cut at its ends."""
    for name, _, node in each(subject, Edit.embeddings):
        for step in (1, -1):
            edit, twin = copied(subject, node)
            last = len(_constant(edit, twin.input[0])) - 1
            ids = edit.node("Cast", [twin.input[1]], to=7)
            moved = edit.node("Add", [ids, edit.constant(step, np.int64)])
            above = edit.node("Max", [moved, edit.constant(0, np.int64)])
            edit.feed(twin, 1, edit.node("Min", [above, edit.constant(last, np.int64)]))
            yield Mutant(f"{name} {step:+d}", edit.done())


def weight_sign_flipped(subject: Specimen) -> Iterator[Mutant]:
    """The largest weight of a tensor has the other sign."""
    for weight, values in _weights(subject):
        changed = values.copy()
        changed.flat[_elements(values)["largest"]] *= -1
        yield from _replaced(subject, weight, changed, "")


def dense_rows_swapped(subject: Specimen) -> Iterator[Mutant]:
    """The first two rows of a dense layer's weight have each other's place."""
    edit = Edit(subject.model)
    for node in edit.dense():
        values = _constant(edit, node.input[1])
        changed = values.copy()
        changed[:2] = values[1::-1]
        if node.input[1] in edit.weights():
            yield from _replaced(subject, node.input[1], changed, "")


def one_weight_changed(subject: Specimen) -> Iterator[Mutant]:
    """The largest or a middling weight of a tensor is changed by a relative amount."""
    for weight, values in _weights(subject):
        for which, index in _elements(values).items():
            for size in RELATIVE:
                changed = values.copy()
                changed.flat[index] = np.float64(values.flat[index]) * (1 + size)
                yield from _replaced(subject, weight, changed, which, size)


def tensor_scaled(subject: Specimen) -> Iterator[Mutant]:
    """All weights of a tensor are changed by the same relative amount."""
    for weight, values in _weights(subject):
        for size in RELATIVE:
            changed = (values.astype(np.float64) * (1 + size)).astype(np.float32)
            yield from _replaced(subject, weight, changed, "", size)


def one_ulp(subject: Specimen) -> Iterator[Mutant]:
    """The largest, a middling or the last weight of a tensor is the next float32."""
    for weight, values in _weights(subject):
        for which, index in {**_elements(values), "last": values.size - 1}.items():
            changed = values.copy()
            changed.flat[index] = np.nextafter(values.flat[index], np.float32(np.inf))
            yield from _replaced(subject, weight, changed, which)


def table_rows_exchanged(subject: Specimen) -> Iterator[Mutant]:
    """Two rows of an embedding, its first and last or two between, have each other's place."""
    for table, values in _embeddings(subject):
        last = len(values) - 1
        places = {"ends": [0, last]}
        if last > 2:
            places["middle"] = [last // 3, 2 * last // 3]
        for which, rows in places.items():
            changed = values.copy()
            changed[rows] = values[rows[::-1]]
            for mutant in _replaced(subject, table, changed, which):
                yield replace(mutant, certain=which == "middle")


def bias_doubled(subject: Specimen) -> Iterator[Mutant]:
    """The bias of the input stands where the bias of the state should be, too."""
    edit = Edit(subject.model)
    for name in {node.input[B] for node in edit.recurrent() if len(node.input) > B}:
        if name in edit.weights():
            values = _constant(edit, name)
            half = values.shape[1] // 2
            changed = np.concatenate([values[:, :half], values[:, :half]], axis=1)
            yield from _replaced(subject, name, changed, "")


def _rounded(subject: Specimen, rounding: Rounding) -> Iterator[Mutant]:
    """Round all weights, then the recurrent matrices alone."""
    edit = Edit(subject.model)
    recurrent = {node.input[R] for node in edit.recurrent()}
    for which, names in (("all", edit.weights()), ("recurrent", [*recurrent])):
        edit, rounded = Edit(subject.model), False
        for weight in names:
            values = edit.value(weight)
            if values is not None and weight in edit.weights():
                changed = rounding(values, _channels(edit, weight))
                rounded |= not np.array_equal(changed, values)
                edit.put(weight, changed)
        if rounded:
            yield Mutant(which, edit.done())


def _replaced(
    subject: Specimen, weight: str, values: Array, which: str, size: float | None = None
) -> Iterator[Mutant]:
    """Give one initializer other ``values``, unless they are the same."""
    edit = Edit(subject.model)
    if not np.array_equal(_constant(edit, weight), values):
        edit.put(weight, values)
        yield Mutant(f"{_label(edit, weight)} {which}".strip(), edit.done(), size=size)


def _weights(subject: Specimen) -> Iterator[tuple[str, Array]]:
    edit = Edit(subject.model)
    return ((weight, _constant(edit, weight)) for weight in edit.weights())


def _embeddings(subject: Specimen) -> Iterator[tuple[str, Array]]:
    """Yield the tables, each once."""
    edit = Edit(subject.model)
    tables = dict.fromkeys(node.input[0] for node in edit.embeddings())
    return ((table, _constant(edit, table)) for table in tables)


def _constant(edit: Edit, tensor: str) -> Array:
    values = edit.value(tensor)
    assert values is not None
    return values


def _label(edit: Edit, weight: str) -> str:
    """Return the first node that reads a weight, and the role of the weight in it."""
    node = edit.consumers(weight)[0]
    index = list(node.input).index(weight)
    number = [n for n in edit.nodes if n.op_type == node.op_type].index(node)
    role = ROLES.get(index) if is_recurrent(node) else None
    return f"{place(number, node)} {role or f'input {index}'}"


def _channels(edit: Edit, weight: str) -> int:
    """Return the axis of a matrix's channels: -1 where a product takes it as it is, else -2."""
    products = [n for n in edit.dense() if n.input[1] == weight]
    straight = any(not attribute(n, "transB", 0) for n in products)
    return -1 if straight else -2


def _elements(values: Array) -> dict[str, int]:
    """Return where the largest and the median magnitude of the values that are not 0 stand."""
    order = np.argsort(np.abs(values), axis=None, kind="stable")
    order = order[values.flat[order] != 0]
    return {"largest": int(order[-1]), "median": int(order[len(order) // 2])}


def _int8(values: Array, channels: int | None) -> Array:
    """Round to multiples of a 127th of the largest magnitude; a vector stays as it is."""
    if values.ndim < 2 or 1 in values.shape[-2:]:
        return values
    axes = None if channels is None else -3 - channels
    largest = np.abs(values).max(axis=axes, keepdims=True)
    scale = np.where(largest > 0, largest, 1) / 127
    rounded: Array = (np.rint(values / scale) * scale).astype(np.float32)
    return rounded
