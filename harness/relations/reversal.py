"""``reversal``: reversing input and direction together changes nothing but order.

In a copy of the graph every LSTM, GRU and RNN runs in the other direction, the two halves of a
bidirectional one in each other's place, over its input reversed in time; its outputs are put back
in order. Where a node has ``sequence_lens``, each row is reversed within its own length.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from harness.core.schema import GoldenCase
from harness.graphs.attributes import attribute, set_attribute
from harness.graphs.recurrent import (
    INITIAL_C,
    INITIAL_H,
    SEQUENCE_LENS,
    B,
    P,
    R,
    W,
    is_recurrent,
    parameters,
)
from harness.graphs.walk import input_at
from harness.relations.context import Check, Context, Pair

OTHER = {"forward": "reverse", "reverse": "forward", "bidirectional": "bidirectional"}
STATES = INITIAL_H, INITIAL_C


def relation(context: Context) -> Check | None:
    """Applies where the main graph has a recurrent node."""
    model = onnx.load(str(context.model))
    if not reverse(model.graph):
        return None
    reversed_ = context.derived(model)

    def check(golden: GoldenCase) -> Iterator[Pair]:
        forward = context.run(golden.inputs, golden.case)
        yield Pair("", forward, context.run(golden.inputs, golden.case, reversed_))

    return check


def reverse(graph: Any) -> int:
    """Turn every recurrent node of the graph around; how many there are."""
    nodes: list[Any] = []
    count = 0
    for node in graph.node:
        if is_recurrent(node):
            nodes += Turned(graph, node, f"reversal_{count}").nodes
            count += 1
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return count


class Turned:
    """``nodes``: the given one in the other direction and what reverses its input and outputs.

    ``layout`` 0 has X as [steps, batch, features], Y as [steps, directions, batch, units] and the
    states as [directions, batch, units]; ``layout`` 1 has the batch first in each.
    """

    def __init__(self, graph: Any, node: Any, prefix: str) -> None:
        self.graph, self.prefix, self.nodes = graph, prefix, []
        self.layout = attribute(node, "layout", 0)
        direction = attribute(node, "direction", "forward")
        lens = input_at(node, SEQUENCE_LENS)
        self.lens = self.add("Cast", [lens], to=7) if lens else ""
        both = direction == "bidirectional"
        turned = deepcopy(node)
        turned.input[0] = self.in_time(node.input[0])
        for place in (W, R, B, *STATES, P) if both else ():
            if input_at(node, place):
                axis = self.layout if place in STATES else 0
                turned.input[place] = self.halves(node.input[place], axis)
        _turn(turned, OTHER[direction])
        after: list[tuple[str, str]] = []
        for place, name in enumerate(node.output):
            if name and (both or place == 0):
                turned.output[place] = f"{prefix}/output_{place}"
                after.append((turned.output[place], name))
        self.nodes.append(turned)
        for value, name in after:
            is_y = value.endswith("/output_0")
            if both:
                value = self.halves(value, self.layout + 1 if is_y else self.layout)
            self.add("Identity", [self.y_in_time(value) if is_y else value], output=name)

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{self.prefix}/value_{len(self.nodes)}"
        name = f"{self.prefix}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def constant(self, values: list[int]) -> str:
        name = f"{self.prefix}/constant_{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def halves(self, value: str, axis: int) -> str:
        """The two directions in each other's place."""
        return self.add("Gather", [value, self.constant([1, 0])], axis=axis)

    def in_time(self, value: str) -> str:
        """The value, whose first axes are steps and batch, reversed in time."""
        if self.lens:
            time, batch = self.layout, 1 - self.layout
            inputs = [value, self.lens]
            return self.add("ReverseSequence", inputs, time_axis=time, batch_axis=batch)
        ends = int(np.iinfo(np.int64).min)
        slices = [self.constant([n]) for n in (-1, ends, self.layout, -1)]
        return self.add("Slice", [value, *slices])

    def y_in_time(self, value: str) -> str:
        """Y reversed in time; ReverseSequence takes it with the batch next to the steps."""
        if self.layout or not self.lens:
            return self.in_time(value)
        beside = self.add("Transpose", [value], perm=[0, 2, 1, 3])
        return self.add("Transpose", [self.in_time(beside)], perm=[0, 2, 1, 3])


def _turn(node: Any, direction: str) -> None:
    """Set the direction; where there are two, swap the activations of each with their factors."""
    set_attribute(node, "direction", direction)
    names = attribute(node, "activations", [])
    if direction != "bidirectional" or not names:
        return
    first = names[: len(names) // 2]
    for taken, key in enumerate(("activation_alpha", "activation_beta"), start=1):
        used = sum(len(parameters(name)) >= taken for name in first)
        if values := attribute(node, key):
            set_attribute(node, key, values[used:] + values[:used])
    set_attribute(node, "activations", names[len(first) :] + first)
