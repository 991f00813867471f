"""Known mistakes in recurrent nodes, each undone or made in a copy of a graph.

A wrong graph in which one of them is undone meets its golden; a right graph in which one is made
gives the outputs of a runtime that makes it. Either way the mistake is proven, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
    """``pattern`` is its short name, ``words`` say what is wrong, in which node or nodes."""

    pattern: str
    words: str
    model: onnx.ModelProto


def every(model: onnx.ModelProto, outputs: Sequence[str] = ()) -> Iterator[Mistake]:
    """Yield each mistake at each recurrent node, and at all of one kind where there are several.

    ``outputs`` names the nodes by their first output; empty is every one.
    """
    nodes = [
        (number, node)
        for number, node in enumerate(Edit(model).recurrent())
        if not outputs or {*node.output} & {*outputs}
    ]
    groups = [[pair] for pair in nodes]
    if len(nodes) > 1 and len({node.op_type for _, node in nodes}) == 1:
        groups.append(nodes)
    for group in groups:
        names = [f"{node.op_type} {node.name or node.output[0]!r}" for _, node in group]
        for pattern, words, change in _changes(group[0][1].op_type):
            edit = Edit(model)
            copies = [edit.recurrent()[number] for number, _ in group]
            if all(change(edit, copy) for copy in copies):
                yield Mistake(pattern, f"{', '.join(names)}: {words}", edit.done())


def _changes(kind: str) -> Iterator[tuple[str, str, Change]]:
    gates = RECURRENT[kind].gates
    for order in permutations(range(len(gates))):
        if list(order) != sorted(order):
            stored = " ".join(gates[i] for i in np.argsort(order))
            words = f"its gates come in the order {stored} instead of {' '.join(gates)}"
            yield "gate order", words, partial(_reordered, order)
    yield "direction", "it runs in the other direction", _turned
    yield "mask ignored", "its sequence_lens are ignored", partial(_without, SEQUENCE_LENS)
    yield "initial state", "it starts from 0, whatever initial_h is", partial(_without, INITIAL_H)
    if kind == "GRU":
        words = "linear_before_reset is the other way"
        yield "reset gate", words, partial(_toggled, "linear_before_reset")
    if kind == "LSTM":
        words = "it starts from 0, whatever initial_c is"
        yield "initial state", words, partial(_without, INITIAL_C)
        yield "initial state", "initial_h and initial_c are exchanged", _exchanged
        yield "peepholes", "its peepholes are ignored", partial(_without, P)
        yield "coupled gates", "input_forget is the other way", partial(_toggled, "input_forget")
    yield "missing bias", "its biases are ignored", partial(_without, B)
    yield "clip", "its clip is ignored", partial(_dropped, "clip")
    yield "activation", "its activations are the default ones", partial(_dropped, "activations")
    for alpha, shown in ((0.2, "0.2"), (1 / 6, "1/6")):
        words = f"its hard sigmoid has another slope than {shown}"
        yield "activation", words, partial(_hard, alpha)


def _reordered(order: Sequence[int], edit: Edit, node: Any) -> bool:
    reorder(edit, node, order)
    return edit.value(node.input[W]) is not None


def _turned(edit: Edit, node: Any) -> bool:
    turn(edit, node)
    return True


def _without(slot: int, edit: Edit, node: Any) -> bool:
    if not input_at(node, slot):
        return False
    node.input[slot] = ""
    node.input[:] = trimmed(node.input)
    return True


def _exchanged(edit: Edit, node: Any) -> bool:
    return exchange(node, INITIAL_H, INITIAL_C)


def _toggled(name: str, edit: Edit, node: Any) -> bool:
    toggle(node, name)
    return True


def _dropped(name: str, edit: Edit, node: Any) -> bool:
    """Take an attribute away, and with it the factors of the activations."""
    if attribute(node, name) is None:
        return False
    for each in (name, "activation_alpha", "activation_beta"):
        set_attribute(node, each, None)
    return True


def _hard(alpha: float, edit: Edit, node: Any) -> bool:
    """Set the slope of hard sigmoids to ``alpha``; False where they have it or there are none."""
    names = attribute(node, "activations", [])
    if "HardSigmoid" not in names:
        return False
    alphas = list(attribute(node, "activation_alpha", []))
    changed = [alpha if abs(a - alpha) > 1e-3 else a for a in alphas]
    set_attribute(node, "activation_alpha", changed or [alpha] * names.count("HardSigmoid"))
    return changed != alphas
