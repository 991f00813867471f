"""Mistakes that are known of recurrent nodes, each undone or made in a copy of a graph.

A wrong graph in which one of them is undone meets its golden; a right graph in which one is made
gives what a runtime gives that makes it. Either way the mistake is proven, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import onnx

from harness.graphs.attributes import attribute, set_attribute
from harness.graphs.edit import Edit
from harness.graphs.recurrent import INITIAL_C, INITIAL_H, RECURRENT, SEQUENCE_LENS, B, P, W
from harness.graphs.recurrent_edit import exchange, reorder, toggle, turn
from harness.graphs.walk import input_at, trimmed

Change = Callable[[Edit, Any], bool]
"""Changes a recurrent node of a copy; False where there is nothing to change."""


@dataclass(frozen=True)
class Mistake:
    """``pattern`` is its short name, ``words`` say what is wrong, of which node or nodes."""

    pattern: str
    words: str
    model: onnx.ModelProto


def every(model: onnx.ModelProto, wanted: Sequence[str] = ()) -> Iterator[Mistake]:
    """Each mistake at each recurrent node, and at all of one kind where there are several.

    ``wanted`` names the nodes by their first output; empty is every one.
    """
    nodes = [
        (number, node)
        for number, node in enumerate(Edit(model).recurrent())
        if not wanted or {*node.output} & {*wanted}
    ]
    groups = [([number], node) for number, node in nodes]
    if len(nodes) > 1 and len({node.op_type for _, node in nodes}) == 1:
        groups.append(([number for number, _ in nodes], nodes[0][1]))
    for numbers, node in groups:
        called = _called([n for i, n in nodes if i in numbers])
        for pattern, words, change in _changes(node.op_type):
            edit = Edit(model)
            twins = [edit.recurrent()[number] for number in numbers]
            if all(change(edit, twin) for twin in twins):
                yield Mistake(pattern, f"{called}: {words}", edit.done())


def _called(nodes: Sequence[Any]) -> str:
    names = [f"{node.op_type} {node.name or node.output[0]!r}" for node in nodes]
    return names[0] if len(names) == 1 else ", ".join(names)


def _changes(kind: str) -> Iterator[tuple[str, str, Change]]:
    gates = RECURRENT[kind].gates
    for order in permutations(range(len(gates))):
        if list(order) != sorted(order):
            told = " ".join(gates[i] for i in np.argsort(order))
            words = f"its gates come in the order {told} instead of {' '.join(gates)}"
            yield "gate order", words, _reordered(order)
    yield "direction", "it runs in the other direction", _turned
    yield "mask ignored", "its sequence_lens are ignored", _without(SEQUENCE_LENS)
    yield "initial state", "it starts from 0, whatever initial_h is", _without(INITIAL_H)
    if kind == "GRU":
        words = "linear_before_reset is the other way"
        yield "reset gate", words, _toggled("linear_before_reset")
    if kind == "LSTM":
        yield "initial state", "it starts from 0, whatever initial_c is", _without(INITIAL_C)
        yield "initial state", "initial_h and initial_c are exchanged", _exchanged
        yield "peepholes", "its peepholes are ignored", _without(P)
        yield "coupled gates", "input_forget is the other way", _toggled("input_forget")
    yield "missing bias", "its biases are ignored", _without(B)
    yield "clip", "its clip is ignored", _dropped("clip")
    yield "activation", "its activations are the default ones", _dropped("activations")
    for alpha, told in ((0.2, "0.2"), (1 / 6, "1/6")):
        yield "activation", f"its hard sigmoid has another slope than {told}", _hard(alpha)


def _reordered(order: Sequence[int]) -> Change:
    def change(edit: Edit, node: Any) -> bool:
        reorder(edit, node, order)
        return edit.value(node.input[W]) is not None

    return change


def _turned(edit: Edit, node: Any) -> bool:
    turn(edit, node)
    return True


def _without(slot: int) -> Change:
    def change(edit: Edit, node: Any) -> bool:
        if not input_at(node, slot):
            return False
        node.input[slot] = ""
        node.input[:] = trimmed(node.input)
        return True

    return change


def _exchanged(_: Edit, node: Any) -> bool:
    return exchange(node, INITIAL_H, INITIAL_C)


def _toggled(name: str) -> Change:
    def change(_: Edit, node: Any) -> bool:
        toggle(node, name)
        return True

    return change


def _dropped(name: str) -> Change:
    def change(edit: Edit, node: Any) -> bool:
        there = attribute(node, name) is not None
        for each in (name, *(("activation_alpha", "activation_beta") if there else ())):
            set_attribute(node, each, None)
        return there

    return change


def _hard(alpha: float) -> Change:
    """A gate's sigmoid becomes a hard one of another slope; a hard one's slope the given one."""

    def change(edit: Edit, node: Any) -> bool:
        names = attribute(node, "activations", [])
        if "HardSigmoid" not in names:
            return False
        alphas = list(attribute(node, "activation_alpha", []))
        changed = [alpha if abs(a - alpha) > 1e-3 else a for a in alphas]
        set_attribute(node, "activation_alpha", changed or [alpha] * names.count("HardSigmoid"))
        return changed != alphas

    return change
