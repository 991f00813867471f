"""How a node differs from its counterpart in a good graph, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np

from harness.core.schema import Array
from harness.graphs.view import Net, attributes, bodies

GATES = {"LSTM": "iofc", "GRU": "zrh"}
"""The gates in the order in which ONNX stacks them."""
PARTS = {"W": 1, "R": 1, "B": 2}
"""How many times over each constant of a recurrent node stacks its gates, along axis 1."""


def told(net: Net, number: int, good: Net, counterpart: int) -> list[str]:
    """Every difference in operator, attributes, bodies and constants, one sentence each."""
    node, other = net.nodes[number], good.nodes[counterpart]
    found = []
    if node.op_type != other.op_type:
        found.append(f"operator is {node.op_type}, the good graph has {other.op_type}")
    ours, theirs = attributes(node), attributes(other)
    for name in sorted(ours.keys() | theirs.keys()):
        one, two = ours.get(name, "absent"), theirs.get(name, "absent")
        if node.op_type == other.op_type and repr(one) != repr(two):
            found.append(f"attribute {name} is {one}, the good graph has {two}")
    inner, outer = bodies(node), bodies(other)
    for name in sorted(inner.keys() & outer.keys()):
        if [n.op_type for n in inner[name].node] != [n.op_type for n in outer[name].node]:
            found.append(f"{name} has other operators than in the good graph")
    return found + list(_constants(net, number, good, counterpart))


def _constants(net: Net, number: int, good: Net, counterpart: int) -> Iterator[str]:
    node, other = net.nodes[number], good.nodes[counterpart]
    pairs = {}
    for slot in range(max(len(node.input), len(other.input))):
        one = node.input[slot] if slot < len(node.input) else ""
        two = other.input[slot] if slot < len(other.input) else ""
        role = net.role(number, slot)
        ours, theirs = net.constants.get(one), good.constants.get(two)
        if ours is not None and theirs is not None:
            if ours.shape != theirs.shape:
                yield f"{role} {one!r} has shape {ours.shape}, the good graph's {theirs.shape}"
            elif ours.dtype != theirs.dtype:
                yield f"{role} {one!r} is {ours.dtype}, the good graph's {theirs.dtype}"
            elif not np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"):
                pairs[role, one] = ours, theirs
        elif bool(one) != bool(two):
            yield f"{role} is {'given' if one else 'absent'}, in the good graph it is" + (
                f" {two!r}" if two else " absent"
            )
        elif (ours is None) != (theirs is None):
            kinds = ["computed" if value is None else "a constant" for value in (ours, theirs)]
            yield f"{role} is {kinds[0]}, in the good graph it is {kinds[1]}"
    gates = GATES.get(node.op_type, "")
    for (role, name), (ours, theirs) in pairs.items():
        how = _how(ours, theirs, gates, PARTS.get(role, 0))
        yield f"{role} {name!r} differs: {how}"


def _how(ours: Array, theirs: Array, gates: str, parts: int) -> str:
    """One constant against its counterpart of the same shape and dtype."""
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
                made = change(theirs)
            if made is not None and made.shape == ours.shape and np.array_equal(made, ours):
                return words
    wrong = ours != theirs
    first = tuple(int(i) for i in np.argwhere(wrong)[0]) if ours.ndim else ()
    return (
        f"{int(wrong.sum())} of {wrong.size} values, first {ours[first]} for {theirs[first]}"
        f" at {list(first)}"
    )


def gate_order(ours: Array, theirs: Array, gates: str, parts: int) -> str:
    """The order of the gates in ``ours``, where ``theirs`` has ``gates``; empty if there is none.

    Axis 1 stacks the gates ``parts`` times over.
    """
    stacked = [a.reshape(a.shape[0], parts, len(gates), -1) for a in (ours, theirs)]
    for order in permutations(range(len(gates))):
        if list(order) != sorted(order) and np.array_equal(stacked[0], stacked[1][:, :, order]):
            return "".join(gates[i] for i in order)
    return ""


def _exchanged(order: str, gates: str) -> str:
    moved = [g for g, o in zip(gates, order, strict=True) if g != o]
    return f": gates {moved[0]} and {moved[1]} exchanged" if len(moved) == 2 else ""


def _halves(ours: Array, theirs: Array) -> str:
    """The input's and the recurrent half of a bias, each kept, dropped or doubled."""
    one, two = (np.split(a, 2, axis=1) for a in (ours, theirs))
    if np.array_equal(one[0], two[1]) and np.array_equal(one[1], two[0]):
        return "the input bias and the recurrent bias have changed places"
    words = []
    for name, a, b in zip(("input", "recurrent"), one, two, strict=True):
        if np.array_equal(a, b):
            continue
        if not a.any():
            words.append(f"the {name} bias is missing (all 0)")
        elif np.array_equal(a, 2 * b):
            words.append(f"the {name} bias counts twice")
        else:
            return ""
    return " and ".join(words)


def bfloat16(values: Array) -> Array:
    return _mantissa(values, 7)


def float16(values: Array) -> Array:
    return values.astype(np.float16).astype(values.dtype)


def tf32(values: Array) -> Array:
    return _mantissa(values, 10)


def _mantissa(values: Array, bits: int) -> Array:
    """The nearest float32 with so many bits of mantissa; a tie goes to the even one."""
    drop = np.uint32(23 - bits)
    raw = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = (raw >> drop) & np.uint32(1)
    raised = raw + (np.uint32(1) << (drop - np.uint32(1))) - np.uint32(1) + odd
    return (raised >> drop << drop).view(np.float32).astype(values.dtype)


def _turned(values: Array) -> Array | None:
    return np.swapaxes(values, -1, -2) if values.ndim > 1 else None


def _blocks(values: Array, count: int) -> Array | None:
    """Each of ``count`` square blocks along axis 1 transposed."""
    if values.ndim != 3 or values.shape[1] != count * values.shape[2]:
        return None
    blocks = values.reshape(values.shape[0], count, values.shape[2], values.shape[2])
    return np.swapaxes(blocks, 2, 3).reshape(values.shape)


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
    "each gate's matrix is transposed": lambda v: _blocks(v, 4),
    "each of the three gates' matrices is transposed": lambda v: _blocks(v, 3),
    "the matrix is transposed": lambda v: _blocks(v, 1),
    "its directions have changed places": lambda v: v[::-1] if v.ndim > 1 else None,
    "its rows come one late": lambda v: np.roll(v, 1, axis=0),
    "its rows come one early": lambda v: np.roll(v, -1, axis=0),
    "it is twice as large": lambda v: 2 * v,
}
