"""Defects of the states that enter and leave a recurrent node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from typing import Any

import numpy as np

from harness.core.schema import TensorSpec
from harness.graphs.attributes import attribute
from harness.graphs.edit import Edit
from harness.graphs.recurrent import INITIAL_C, INITIAL_H, Y_C, Y_H, Y, directions
from harness.graphs.recurrent_edit import exchange
from harness.graphs.walk import input_at
from harness.mutation.defects.defect import Mutant, Specimen, copied, place, recurrent

INITIAL = {"h": INITIAL_H, "c": INITIAL_C}
RESIDUE = 0.1
"""What a layer's state held when it was exported."""


def initial_state_zeroed(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node starts from zero instead of the state that it is given."""
    for name, edit, node, index in _initial_states(subject):
        edit.feed(node, index, edit.node("Sub", [node.input[index], node.input[index]]))
        yield Mutant(name, edit.done())


def initial_states_dropped(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node is no longer given any of its initial states."""
    for name, edit, node in recurrent(subject):
        if _states(node):
            del node.input[INITIAL_H:]
            yield Mutant(name, edit.done())


def initial_h_and_c_swapped(subject: Specimen) -> Iterator[Mutant]:
    """An LSTM's initial hidden state and its initial cell state have changed places."""
    for name, edit, node in recurrent(subject):
        if exchange(node, INITIAL_H, INITIAL_C):
            yield Mutant(name, edit.done())


def initial_state_of_another_layer(subject: Specimen) -> Iterator[Mutant]:
    """Two recurrent nodes of the same size have each other's initial state."""
    nodes = Edit(subject.model).recurrent()
    for a, b in combinations(range(len(nodes)), 2):
        for state in sorted(_states(nodes[a]).keys() & _states(nodes[b]).keys()):
            edit, index = Edit(subject.model), INITIAL[state]
            first, second = (edit.recurrent()[number] for number in (a, b))
            late = any(edit.depends(second.input[index], name) for name in first.output if name)
            if _units(first) == _units(second) and not late:
                names = second.input[index], first.input[index]
                first.input[index], second.input[index] = names
                yield Mutant(f"{place(a, first)} and {b} {state}", edit.done())


def initial_state_of_another_row(subject: Specimen) -> Iterator[Mutant]:
    """The rows of a batch start from each other's state, the last row from the first one's."""
    for name, edit, node, index in _initial_states(subject):
        edit.feed(node, index, edit.flipped(node.input[index], 1))
        yield Mutant(name, edit.done())


def initial_state_baked(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node starts from what was left in it when it was exported, at any batch size."""
    for name, _, node in recurrent(subject):
        for state in ("h", "c") if node.op_type == "LSTM" else ("h",):
            edit, twin = copied(subject, node)
            edit.feed(twin, INITIAL[state], _residue(edit, twin))
            yield Mutant(f"{name} {state}", edit.done())


def initial_state_baked_with_its_batch(subject: Specimen) -> Iterator[Mutant]:
    """A recurrent node starts from a constant zero state that has one row."""
    for name, edit, node in recurrent(subject):
        zero = np.zeros((directions(node), 1, _units(node)), np.float32)
        edit.feed(node, INITIAL_H, edit.constant(zero))
        yield Mutant(name, edit.done())


def cell_state_for_hidden_state(subject: Specimen) -> Iterator[Mutant]:
    """An LSTM's final cell state is read where its final hidden state should be."""
    yield from _read_instead(subject, Y_H, lambda edit, node: _output(edit, node, Y_C), "LSTM")


def hidden_state_for_cell_state(subject: Specimen) -> Iterator[Mutant]:
    """An LSTM's final hidden state is read where its final cell state should be."""
    yield from _read_instead(subject, Y_C, lambda edit, node: _output(edit, node, Y_H), "LSTM")


def state_of_the_first_step(subject: Specimen) -> Iterator[Mutant]:
    """The hidden state after the first step is read instead of the one after the last."""

    def first(edit: Edit, node: Any) -> str:
        return edit.node("Gather", [_output(edit, node, Y), edit.constant(0, np.int64)], axis=0)

    yield from _read_instead(subject, Y_H, first)


def state_one_step_old(subject: Specimen) -> Iterator[Mutant]:
    """The hidden state before the last step is read instead of the one after it."""

    def stale(edit: Edit, node: Any) -> str:
        steps = _output(edit, node, Y)
        before = edit.node("Sub", [edit.size(steps, 0), edit.constant(2, np.int64)])
        step = edit.node("Max", [before, edit.constant(0, np.int64)])
        return edit.node("Gather", [steps, step], axis=0)

    yield from _read_instead(subject, Y_H, stale)


def state_of_another_layer_returned(subject: Specimen) -> Iterator[Mutant]:
    """A state is returned under the name of another layer's or of the layer's other one."""
    for state, returned in permutations(_final_states(subject), 2):
        if state.axes == returned.axes and state.dtype == returned.dtype:
            edit = Edit(subject.model)
            edit.publish(state.name, returned.name)
            yield Mutant(f"{state.name} is {returned.name}", edit.done())


def final_state_of_another_layer(subject: Specimen) -> Iterator[Mutant]:
    """The final hidden state of one recurrent node is read where another's should be."""
    for a, b in permutations(range(len(Edit(subject.model).recurrent())), 2):
        edit = Edit(subject.model)
        first, second = (edit.recurrent()[number] for number in (a, b))
        state, readers = _readers(edit, first, Y_H)
        later = edit.downstream(name for reader in readers for name in reader.output)
        free = not later & {*second.input, *second.output}
        if readers and _units(first) == _units(second) and free:
            edit.redirect(state, _output(edit, second, Y_H), readers)
            yield Mutant(f"{place(b, second)} for {a}", edit.done())


def state_not_updated(subject: Specimen) -> Iterator[Mutant]:
    """A state comes out as it went in."""
    for entering, returned in subject.spec.states.items():
        edit = Edit(subject.model)
        edit.publish(returned, entering)
        yield Mutant(returned, edit.done())


def _initial_states(subject: Specimen) -> Iterator[tuple[str, Edit, Any, int]]:
    """Yield every initial state of a node: its place, a copy, the node, the input's number."""
    for name, _, node in recurrent(subject):
        for state in _states(node):
            yield f"{name} {state}", *copied(subject, node), INITIAL[state]


def _states(node: Any) -> dict[str, str]:
    """Return the initial states that a node has, by their letter."""
    return {state: name for state, slot in INITIAL.items() if (name := input_at(node, slot))}


def _final_states(subject: Specimen) -> list[TensorSpec]:
    returned = set(subject.spec.states.values())
    return [tensor for tensor in subject.spec.outputs if tensor.name in returned]


def _read_instead(
    subject: Specimen, index: int, replacement: Callable[[Edit, Any], str], *kinds: str
) -> Iterator[Mutant]:
    """Let all that reads output ``index`` of a node of some kinds read ``replacement`` instead."""
    for name, edit, node in recurrent(subject, *kinds):
        state, readers = _readers(edit, node, index)
        if readers:
            edit.redirect(state, replacement(edit, node), readers)
            yield Mutant(name, edit.done())


def _readers(edit: Edit, node: Any, index: int) -> tuple[str, list[Any]]:
    """Return a node's output number ``index`` and the nodes that read it."""
    state = str(node.output[index]) if index < len(node.output) else ""
    return state, edit.consumers(state) if state else []


def _output(edit: Edit, node: Any, index: int) -> str:
    """Return an output of a node, which gets a name where it was left out."""
    while len(node.output) <= index:
        node.output.append("")
    if not node.output[index]:
        node.output[index] = f"planted_output_{index}"
    return str(node.output[index])


def _residue(edit: Edit, node: Any) -> str:
    """Add the same state for every row, of the batch size that the node runs at."""
    batch = edit.node("Unsqueeze", [edit.size(node.input[0], 1), edit.constant([0], np.int64)])
    sizes = [edit.constant([directions(node)], np.int64), batch]
    shape = edit.node("Concat", [*sizes, edit.constant([_units(node)], np.int64)], axis=0)
    return edit.node("Expand", [edit.constant(RESIDUE, np.float32), shape])


def _units(node: Any) -> int:
    return int(attribute(node, "hidden_size"))
