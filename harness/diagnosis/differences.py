"""How a node differs from its counterpart in a good graph, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np

from harness.core.schema import Array
from harness.graphs.attributes import attribute, attributes
from harness.graphs.narrow import bfloat16, float16, tf32
from harness.graphs.recurrent import RECURRENT, STACKED, is_recurrent, reordered, transposed
from harness.graphs.view import Net
from harness.graphs.walk import input_at


def differences(net: Net, number: int, good: Net, counterpart: int) -> list[str]:
    """Return every difference in operator, attributes, bodies and constants, a sentence each."""
    node, counterpart_node = net.nodes[number], good.nodes[counterpart]
    sentences = []
    if node.op_type != counterpart_node.op_type:
        sentences.append(
            f"operator is {node.op_type}, the good graph has {counterpart_node.op_type}"
        )
    ours, theirs = attributes(node), attributes(counterpart_node)
    for name in sorted(ours.keys() | theirs.keys()):
        value, other_value = ours.get(name, "absent"), theirs.get(name, "absent")
        if node.op_type == counterpart_node.op_type and repr(value) != repr(other_value):
            sentences.append(f"attribute {name} is {value}, the good graph has {other_value}")
    nested = [
        {a.name for a in each.attribute if a.HasField("g")} for each in (node, counterpart_node)
    ]
    for name in sorted(nested[0] & nested[1]):
        inner, outer = (
            [n.op_type for n in attribute(e, name).node] for e in (node, counterpart_node)
        )
        if inner != outer:
            sentences.append(f"{name} has other operators than in the good graph")
    return sentences + list(_constants(net, number, good, counterpart))


def _constants(net: Net, number: int, good: Net, counterpart: int) -> Iterator[str]:
    node, other = net.nodes[number], good.nodes[counterpart]
    pairs = {}
    for slot in range(max(len(node.input), len(other.input))):
        name, other_name = input_at(node, slot), input_at(other, slot)
        role = net.role(number, slot)
        ours, theirs = net.constants.get(name), good.constants.get(other_name)
        if ours is not None and theirs is not None:
            if ours.shape != theirs.shape:
                yield f"{role} {name!r} has shape {ours.shape}, the good graph's {theirs.shape}"
            elif ours.dtype != theirs.dtype:
                yield f"{role} {name!r} is {ours.dtype}, the good graph's {theirs.dtype}"
            elif not np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"):
                pairs[slot] = ours, theirs
        elif bool(name) != bool(other_name):
            yield f"{role} is {'given' if name else 'absent'}, in the good graph it is" + (
                f" {other_name!r}" if other_name else " absent"
            )
        elif (ours is None) != (theirs is None):
            kinds = ["computed" if value is None else "a constant" for value in (ours, theirs)]
            yield f"{role} is {kinds[0]}, in the good graph it is {kinds[1]}"
    gates = RECURRENT[node.op_type].gates if is_recurrent(node) else ""
    for slot, (ours, theirs) in pairs.items():
        how = _how(ours, theirs, gates, STACKED.get(slot, 0))
        yield f"{net.role(number, slot)} {node.input[slot]!r} differs: {how}"


def _how(ours: Array, theirs: Array, gates: str, parts: int) -> str:
    """Return how a constant differs from its counterpart of the same shape and dtype."""
    if gates and parts and ours.ndim > 1:
        if order := gate_order(ours, theirs, gates, parts):
            return f"gates come in the order {' '.join(order)} instead of {' '.join(gates)}" + (
                _exchanged(order, gates)
            )
        if parts == 2 and (half := _halves(ours, theirs)):
            return half
    if ours.dtype.kind == "f":
        for words, change in _CHANGES.items():
            with np.errstate(all="ignore"):
                changed = change(theirs)
            if (
                changed is not None
                and changed.shape == ours.shape
                and np.array_equal(changed, ours)
            ):
                return words
    wrong = ours != theirs
    first = tuple(int(i) for i in np.argwhere(wrong)[0]) if ours.ndim else ()
    return (
        f"{int(wrong.sum())} of {wrong.size} values, first {ours[first]} for {theirs[first]}"
        f" at {list(first)}"
    )


def gate_order(ours: Array, theirs: Array, gates: str, parts: int) -> str:
    """Return the order of the gates in ``ours``, where ``theirs`` has ``gates``; empty if none.

    Axis 1 stacks the gates ``parts`` times over.
    """
    for order in permutations(range(len(gates))):
        if list(order) != sorted(order) and np.array_equal(ours, reordered(theirs, order, parts)):
            return "".join(gates[i] for i in order)
    return ""


def _exchanged(order: str, gates: str) -> str:
    moved = [g for g, o in zip(gates, order, strict=True) if g != o]
    return f": gates {moved[0]} and {moved[1]} exchanged" if len(moved) == 2 else ""


def _halves(ours: Array, theirs: Array) -> str:
    """Return how the input's and the recurrent half of a bias are dropped, doubled or exchanged."""
    our_halves, their_halves = (np.split(a, 2, axis=1) for a in (ours, theirs))
    if np.array_equal(our_halves[0], their_halves[1]) and np.array_equal(
        our_halves[1], their_halves[0]
    ):
        return "the input bias and the recurrent bias have changed places"
    words = []
    for name, a, b in zip(("input", "recurrent"), our_halves, their_halves, strict=True):
        if np.array_equal(a, b):
            continue
        if not a.any():
            words.append(f"the {name} bias is missing (all 0)")
        elif np.array_equal(a, 2 * b):
            words.append(f"the {name} bias counts twice")
        else:
            return ""
    return " and ".join(words)


def _turned(values: Array) -> Array | None:
    return np.swapaxes(values, -1, -2) if values.ndim > 1 else None


_CHANGES: dict[str, Callable[[Array], Array | None]] = {
    "all of it is 0": np.zeros_like,
    "every sign is the other one": np.negative,
    "it is rounded to float16 or TF32 (10 bits of mantissa)": lambda v: (
        float16(v) if np.array_equal(float16(v), tf32(v)) else None
    ),
    "it is rounded to float16": float16,
    "it is rounded to bfloat16": bfloat16,
    "it is rounded to TF32 (10 bits of mantissa)": tf32,
    "it is transposed": _turned,
    "each gate's matrix is transposed": lambda v: transposed(v, 4),
    "each of the three gates' matrices is transposed": lambda v: transposed(v, 3),
    "the matrix is transposed": lambda v: transposed(v, 1),
    "its directions have changed places": lambda v: v[::-1] if v.ndim > 1 else None,
    "its rows come one late": lambda v: np.roll(v, 1, axis=0),
    "its rows come one early": lambda v: np.roll(v, -1, axis=0),
    "it is twice as large": lambda v: 2 * v,
}
