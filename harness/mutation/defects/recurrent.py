"""Defects in the weights and biases of a recurrent node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from harness.core.schema import Array
from harness.graphs.edit import Edit
from harness.graphs.recurrent import RECURRENT, STACKED, B, R, W, by_gate, transposed
from harness.graphs.recurrent_edit import exchange, reorder
from harness.graphs.walk import input_at
from harness.mutation.defects.defect import Mutant, Specimen, copied, place, recurrent


def gates_swapped(subject: Specimen) -> Iterator[Mutant]:
    """Two gates of a recurrent node have each other's weights and biases."""
    for name, _, node in recurrent(subject):
        gates = RECURRENT[node.op_type].gates
        for a, b in combinations(range(len(gates)), 2):
            order = list(range(len(gates)))
            order[a], order[b] = b, a
            edit, twin = copied(subject, node)
            reorder(edit, twin, order)
            yield Mutant(f"{name} {gates[a]}/{gates[b]}", edit.done())


def input_bias_dropped(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node has no input bias."""
    yield from _changed(subject, B, lambda bias, _: _scaled(bias, 0, 1))


def input_bias_doubled(subject: Specimen) -> Iterator[Mutant]:
    """The input bias of a recurrent node counts twice."""
    yield from _changed(subject, B, lambda bias, _: _scaled(bias, 2, 1))


def recurrent_bias_dropped(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node has no recurrent bias."""
    yield from _changed(subject, B, lambda bias, _: _scaled(bias, 1, 0))


def recurrent_bias_doubled(subject: Specimen) -> Iterator[Mutant]:
    """The recurrent bias of a recurrent node counts twice."""
    yield from _changed(subject, B, lambda bias, _: _scaled(bias, 1, 2))


def biases_swapped(subject: Specimen) -> Iterator[Mutant]:
    """The input bias of a recurrent node and its recurrent bias have changed places."""
    yield from _changed(subject, B, lambda bias, _: np.roll(bias, bias.shape[1] // 2, axis=1))


def forget_bias_added(subject: Specimen) -> Iterator[Mutant]:
    """The bias of an LSTM's forget gate is larger by one, as if set for training once more."""
    yield from _changed(subject, B, _more_to_forget)


def input_weights_transposed(subject: Specimen) -> Iterator[Mutant]:
    """The input weights of every gate of a recurrent node, which are square, are transposed."""
    yield from _changed(subject, W, lambda weights, gates: transposed(weights, len(gates)))


def recurrent_weights_transposed(subject: Specimen) -> Iterator[Mutant]:
    """The recurrent weights of every gate of a recurrent node are transposed."""
    yield from _changed(subject, R, lambda weights, gates: transposed(weights, len(gates)))


def input_and_recurrent_weights_swapped(subject: Specimen) -> Iterator[Mutant]:
    """The input weights of a recurrent node and its recurrent weights have changed places."""
    for name, edit, node in recurrent(subject):
        shapes = _shapes(edit, node)
        if shapes[0] is not None and shapes[0] == shapes[1] and exchange(node, W, R):
            yield Mutant(name, edit.done())


def weights_of_another_layer(subject: Specimen) -> Iterator[Mutant]:
    """Two recurrent nodes with weights of the same shapes have each other's."""
    for a, b in combinations(range(len(Edit(subject.model).recurrent())), 2):
        edit = Edit(subject.model)
        first, second = (edit.recurrent()[number] for number in (a, b))
        if first.op_type == second.op_type and _shapes(edit, first) == _shapes(edit, second):
            weights = slice(W, B + 1)
            first.input[weights], second.input[weights] = (
                second.input[weights],
                first.input[weights],
            )
            yield Mutant(f"{place(a, first)} and {b}", edit.done())


def _changed(
    subject: Specimen, slot: int, change: Callable[[Array, str], Array | None]
) -> Iterator[Mutant]:
    """Change one constant of every recurrent node that has it; None leaves a node alone."""
    for name, edit, node in recurrent(subject):
        weights = edit.value(input_at(node, slot))
        changed = None if weights is None else change(weights, RECURRENT[node.op_type].gates)
        if changed is not None:
            edit.feed(node, slot, edit.constant(changed, np.float32))
            yield Mutant(name, edit.done())


def _scaled(bias: Array, input_factor: float, recurrent_factor: float) -> Array:
    half = bias.shape[1] // 2
    return np.concatenate(
        [input_factor * bias[:, :half], recurrent_factor * bias[:, half:]], axis=1
    )


def _more_to_forget(bias: Array, gates: str) -> Array | None:
    if "f" not in gates:
        return None
    blocks = by_gate(bias, len(gates), STACKED[B]).copy()
    blocks[:, 0, gates.index("f")] += 1
    return blocks.reshape(bias.shape)


def _shapes(edit: Edit, node: Any) -> list[tuple[int, ...] | None]:
    """Return the shapes of a node's weights and biases; None for one that is not a constant."""
    values = [edit.value(name) for name in node.input[W : B + 1]]
    return [None if value is None else value.shape for value in values]
