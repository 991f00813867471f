"""A loop whose step is exactly a standard cell over a sequence, as an ONNX recurrent node."""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from harness.exporters.torch.rolled.steps import TAKING, Every, Loop, NotALoopError
from harness.graphs.recurrent import gate_order

aten = torch.ops.aten
_CELLS: dict[Any, tuple[str, str, dict[str, Any]]] = {
    aten.lstm_cell.default: ("LSTM", "ifco", {}),
    aten.gru_cell.default: ("GRU", "rzh", {"linear_before_reset": 1}),
    aten.rnn_tanh_cell.default: ("RNN", "h", {}),
    aten.rnn_relu_cell.default: ("RNN", "h", {"activations": ["Relu"]}),
}
"""The operator of a cell, its gates in PyTorch's order by ONNX's letters, and its attributes."""
_ROWWISE = {aten.linear.default, aten.relu.default, aten.tanh.default, aten.sigmoid.default}
_ZEROS = {aten.zeros.default, aten.new_zeros.default}


@dataclass(frozen=True)
class CellLoop:
    """A cell over the steps of ``source`` along ``axis``; ``states`` start it, None for zeros."""

    target: Any
    source: Any
    axis: int
    backward: bool
    states: tuple[fx.Node | None, ...]
    weights: tuple[fx.Node | None, ...]
    places: tuple[int, ...]
    """Where the new states are among a step's nodes."""


def cell_of(loop: Loop) -> CellLoop | None:
    """Return the cell that a loop is; None where it is more, or another loop."""
    places = [p for p, node in enumerate(loop.steps[0]) if node.target in _CELLS]
    if len(places) != 1 or loop.count != loop.length:
        return None
    calls = [step[places[0]] for step in loop.steps]
    outputs = _outputs(loop.steps[0], places[0])
    taken = [t for call in calls if (t := _taken(call.args[0], loop)) is not None]
    if len(taken) != loop.count or len({t[:2] for t in taken}) > 1 or {*loop.kept} - {*outputs}:
        return None
    source, axis, _ = taken[0]
    order = [t[2] for t in taken]
    forward = list(range(loop.length))
    if (
        not _is_whole(source, axis, loop)
        or source in loop.places
        or order not in (forward, forward[::-1])
    ):
        return None
    weights = {tuple(call.args[2:]) for call in calls}
    states = [_states(call) for call in calls]
    if len(weights) != 1 or calls[0].args[0].meta["val"].dim() != 2:
        return None
    for step, given in zip(loop.steps, states[1:], strict=False):
        if given != tuple(step[place] for place in outputs):
            return None
    if len(outputs) > 1 and _read_before_the_last(loop, outputs[1]):
        return None
    return CellLoop(
        calls[0].target,
        source,
        axis,
        order != forward,
        tuple(None if s.target in _ZEROS else s for s in states[0]),
        next(iter(weights)),
        outputs,
    )


def split(loop: Loop) -> list[Loop]:
    """Return the cells of a loop as loops of their own, and what is left of its steps as the last.

    What only the last step needs is no loop; it is in the trace once.
    """
    for place, node in enumerate(loop.steps[0]):
        own = {place, *_outputs(loop.steps[0], place)} if node.target in _CELLS else set()
        if not own:
            continue
        cell = _part(loop, own, loop.earlier)
        if cell is None or cell_of(cell) is None:
            continue
        left = {*range(len(loop.steps[0]))} - own - _way_to(node.args[0], loop)
        rest = _part(loop, left, [*loop.earlier, cell]) if left else None
        if not left or (rest is not None and _only_last(rest)):
            return [cell]
        if rest is not None:
            return [cell, *split(rest)]
    return [loop]


def _part(loop: Loop, places: set[int], earlier: Sequence[Loop]) -> Loop | None:
    """Return a loop of some of the nodes of each step; None where they are none."""
    steps = [[step[place] for place in sorted(places)] for step in loop.steps]
    part = Loop(steps, loop.size, loop.length, earlier)
    try:
        part.match()
    except NotALoopError:
        return None
    return part


def sources_of(loop: Loop) -> list[Any] | None:
    """Return what each node of a step reads where all steps are one call of each node.

    So it is where every node works on the last axis of an earlier loop's values, or of a node
    before it, and on nothing else of the step.
    """
    if loop.carried or loop.skipped:
        return None
    sources: list[Any] = []
    for nodes in zip(*loop.steps, strict=True):
        first = nodes[0].args[0]
        others = {a for node in nodes for a in node.args[1:] if isinstance(a, fx.Node)}
        if nodes[0].target not in _ROWWISE or any(a.op != "placeholder" for a in others):
            return None
        if first in loop.places:
            sources.append(first)
            continue
        taken = [_taken(node.args[0], loop) for node in nodes]
        every = taken[0][0] if taken[0] else None
        if not isinstance(every, Every) or taken != [(every, 0, t) for t in range(loop.count)]:
            return None
        sources.append(every)
    return sources


def _way_to(node: Any, loop: Loop) -> set[int]:
    """Return the places of what takes a cell's input, which each reader takes for itself."""
    places = set()
    while node in loop.places and node.target in {*TAKING, aten.squeeze.dim}:
        places.add(loop.places[node][1])
        node = node.args[0]
    return places


def _only_last(loop: Loop) -> bool:
    """Return whether a loop carries nothing, and no more than its last step is read outside it.

    The last step differs from the one before by the places that it takes alone.
    """
    if loop.carried:
        return False
    for before, last in zip(*loop.steps[-2:], strict=True):
        numbers = [[a for a in n.args if not isinstance(a, fx.Node)] for n in (before, last)]
        if numbers[0] != numbers[1] and last.target not in TAKING:
            return False
    return not any(_read_before_the_last(loop, place) for place in range(len(loop.steps[0])))


def packed_weights(cell: CellLoop, held: Mapping[fx.Node, Tensor]) -> dict[str, Tensor] | None:
    """Return the node's W, R and B of ``held`` weights; None where one is not held in float32."""
    name, gates, _ = _CELLS[cell.target]
    order = gate_order(name, gates)
    parts: list[Tensor] = []
    for weight in cell.weights:
        if weight is not None:
            if weight not in held or held[weight].dtype != torch.float32:
                return None
            stacked = held[weight].detach().unflatten(0, (len(order), -1))
            parts.append(stacked[order].flatten(0, 1))
    w, r, *biases = parts
    if len(biases) == 1:
        return None
    packed = {"W": w[None], "R": r[None]}
    if biases:
        packed["B"] = torch.cat(biases)[None]
    return packed


def recurrent_node(
    target: Any, x: Tensor, axis: int, backward: bool, weights: Any, states: Any
) -> list[Tensor]:
    """Return the hidden state at every step [steps, batch, units] and, for an LSTM, the last c.

    The steps are in the order of the loop.
    """
    name, _, attributes = _CELLS[target]
    x = x.movedim(axis, 0)
    x = x.flip(0) if backward else x
    w, r, b = weights
    state = (1, x.shape[1], r.shape[2])
    h, c = (*(None if s is None else s.unsqueeze(0) for s in states), None)[:2]
    y, *last = torch.onnx.ops.symbolic_multi_out(
        f"::{name}",
        (x, w, r, b, None, h, c),
        {"hidden_size": r.shape[2], "direction": "forward", **attributes},
        dtypes=(torch.float32,) * (3 if name == "LSTM" else 2),
        shapes=((x.shape[0], *state), *(state,) * (2 if name == "LSTM" else 1)),
    )
    return [y.squeeze(1), *last[1:]]


def _outputs(step: Sequence[fx.Node], place: int) -> tuple[int, ...]:
    """Return where the new states of a cell at a place are among a step's nodes."""
    if step[place].target is not aten.lstm_cell.default:
        return (place,)
    of = {n.args: p for p, n in enumerate(step) if n.target is operator.getitem}
    return tuple(of[step[place], number] for number in (0, 1) if (step[place], number) in of)


def _states(call: fx.Node) -> tuple[fx.Node, ...]:
    states: Any = call.args[1]
    return tuple(states) if isinstance(states, list | tuple) else (states,)


def _is_whole(source: Any, axis: int, loop: Loop) -> bool:
    """Return whether a tensor has as many places along an axis as a loop has steps."""
    if isinstance(source, Every):
        return source.loop.size is loop.size and source.loop.count == loop.count
    size = source.meta["val"].shape[axis]
    return isinstance(size, torch.SymInt) and bool(
        size.node.expr == loop.size.meta["val"].node.expr
    )


def _taken(node: Any, loop: Loop) -> tuple[Any, int, int] | None:
    """Return the tensor, axis and index of which a node is a step; None where it is none."""
    for other in loop.earlier:
        if node in other.places and not other.skipped:
            step, own = other.places[node]
            return Every(other, own), 0, step
    squeezed = None
    if node.target is aten.squeeze.dim:
        node, squeezed = node.args
    takes = node.target in (aten.select.int, aten.narrow.default, aten.slice.Tensor)
    if not takes or len(node.args) < 3:
        return None
    source, axis, at, *end = node.args
    one = [at + 1] if node.target is aten.slice.Tensor and type(at) is int else [1]
    if node.target is not aten.select.int and (squeezed != axis or end != one):
        return None
    if node.target is aten.select.int and squeezed is not None:
        return None
    while source.target is aten.slice.Tensor and source.args[2:] == (0, sys.maxsize):
        source = source.args[0]
    return source, axis % source.meta["val"].dim(), at


def _read_before_the_last(loop: Loop, place: int) -> bool:
    """Return whether something outside the loop reads a step's value other than the last's."""
    return any(user not in loop.places for step in loop.steps[:-1] for user in step[place].users)
