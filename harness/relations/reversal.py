"""``reversal``: reversing input and direction together changes nothing but order.

In a copy of the graph every LSTM, GRU and RNN runs in the other direction, the two halves of a
bidirectional one in each other's place, over its input reversed in time; its outputs are put back
in order. Where a node has ``sequence_lens``, each row is reversed within its own length.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import onnx

from harness.core.schema import GoldenCase
from harness.graphs.attributes import attribute, set_attribute
from harness.graphs.edit import Edit
from harness.graphs.recurrent import (
    INITIAL_C,
    INITIAL_H,
    SEQUENCE_LENS,
    B,
    P,
    R,
    W,
    X,
    Y,
    directions,
    parameters,
)
from harness.graphs.walk import input_at
from harness.relations.context import Check, Context, Pair

OTHER = {"forward": "reverse", "reverse": "forward", "bidirectional": "bidirectional"}
STATES = INITIAL_H, INITIAL_C


def relation(context: Context) -> Check | str:
    """Apply where the main graph has a recurrent node."""
    edit = Edit(onnx.load(str(context.model)))
    if not reverse(edit):
        return "the graph has no LSTM, GRU or RNN outside of control flow"
    reversed_ = context.derived(edit.done())

    def check(golden: GoldenCase) -> Iterator[Pair]:
        forward = context.run(golden.inputs, golden.case)
        yield Pair("", forward, context.run(golden.inputs, golden.case, reversed_))

    return check


def reverse(edit: Edit) -> int:
    """Turn every recurrent node of the graph around; return their number."""
    nodes = edit.recurrent()
    for node in nodes:
        _turn_around(edit, node)
    return len(nodes)


def _turn_around(edit: Edit, node: Any) -> None:
    """Let a node run in the other direction, and reverse its input and outputs.

    ``layout`` 0 has X as [steps, batch, features], Y as [steps, directions, batch, units] and the
    states as [directions, batch, units]; ``layout`` 1 has the batch first in each.
    """
    layout, both = attribute(node, "layout", 0), directions(node) == 2
    lens = input_at(node, SEQUENCE_LENS)
    steps_of_rows = edit.node("Cast", [lens], to=onnx.TensorProto.INT64) if lens else ""

    def in_time(value: str) -> str:
        """Return the value, whose first axes are steps and batch, reversed in time."""
        if not steps_of_rows:
            return edit.flipped(value, layout)
        axes = {"time_axis": layout, "batch_axis": 1 - layout}
        return edit.node("ReverseSequence", [value, steps_of_rows], **axes)

    def y_in_time(value: str) -> str:
        """Return Y reversed in time; ReverseSequence takes it with the batch next to the steps."""
        if layout or not steps_of_rows:
            return in_time(value)
        beside = edit.node("Transpose", [value], perm=[0, 2, 1, 3])
        return edit.node("Transpose", [in_time(beside)], perm=[0, 2, 1, 3])

    def halves(value: str, axis: int) -> str:
        """Return the two directions in each other's place."""
        return edit.node("Gather", [value, edit.constant([1, 0], np.int64)], axis=axis)

    def back(slot: int, value: str) -> str:
        value = halves(value, layout + (slot == Y)) if both else value
        return y_in_time(value) if slot == Y else value

    edit.feed(node, X, in_time(node.input[X]))
    for slot in (W, R, B, *STATES, P) if both else ():
        if name := input_at(node, slot):
            edit.feed(node, slot, halves(name, layout if slot in STATES else 0))
    _turn(node)
    for slot, name in enumerate([*node.output]):
        if name and (both or slot == Y):
            edit.rewrite(name, partial(back, slot))


def _turn(node: Any) -> None:
    """Set the direction; where there are two, swap the activations of each with their factors."""
    set_attribute(node, "direction", OTHER[attribute(node, "direction", "forward")])
    names = attribute(node, "activations", [])
    if directions(node) == 1 or not names:
        return
    first = names[: len(names) // 2]
    for number, key in enumerate(("activation_alpha", "activation_beta"), start=1):
        used = sum(len(parameters(name)) >= number for name in first)
        if values := attribute(node, key):
            set_attribute(node, key, values[used:] + values[:used])
    set_attribute(node, "activations", names[len(first) :] + first)
