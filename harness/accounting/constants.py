"""The constants of a graph, of the graphs nested in it and of its functions, and their readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from harness.accounting.form import Block
from harness.core.schema import Array
from harness.graphs import walk
from harness.graphs.attributes import constants
from harness.graphs.recurrent import RECURRENT, STACKED, directions, is_recurrent

_NUMBERS = "fiub"
_GATES = {"LSTM": {"": "ifco"}, "GRU": {"torch": "rzh", "keras": "zrh"}, "RNN": {"": "h"}}
"""The order of the gates in the frameworks' weights, in the letters of ONNX."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant; ``array`` is without the axes of size 1.

    ``label`` names the first node that reads it and that input, ``weight_of`` has the recurrent
    nodes that it is a weight of and at which input.
    """

    name: str
    array: Array
    shape: tuple[int, ...]
    label: str
    weight_of: tuple[tuple[Any, int], ...]


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a constant, or one in another order of gates, that may be a whole parameter.

    ``order`` says of a recurrent weight in which framework's order its gates are: ``rows`` for
    PyTorch's, which stacks them along the first axis of a matrix, ``columns`` for Keras', which
    does along the last, empty where both have the same. ``node`` is the recurrent node, with the
    direction, and ``role`` what it is there.
    """

    label: str
    blocks: tuple[Block, ...]
    constant: Constant = field(repr=False)
    order: str = ""
    node: str = ""
    role: str = ""

    @property
    def values(self) -> Array:
        """The numbers; of a recurrent node a copy that is made each time, for memory's sake."""
        if not self.node:
            return self.constant.array
        return joined({self.constant.name: self.constant}, self.blocks)

    @property
    def size(self) -> int:
        return sum(block.rows * block.width for block in self.blocks)

    @property
    def kind(self) -> str:
        return kind(self.constant.array)

    @property
    def constants(self) -> set[str]:
        return {block.constant for block in self.blocks}


def collect(model: onnx.ModelProto) -> dict[str, Constant]:
    """Return every constant of numbers that is read, by a name of its own.

    Data in other files is left out.
    """
    found: dict[str, Constant] = {}
    holders = [("", model.graph), *((f"{f.name}: ", f) for f in model.functions)]
    for within, holder in holders:
        for name, constant in _scope(within, holder):
            number = 1
            while (unique := name if number == 1 else f"{name} ({number})") in found:
                number += 1
            array = constant.pop("array")
            found[unique] = Constant(unique, array.squeeze(), array.shape, **constant)
    return found


def pieces(found: Mapping[str, Constant]) -> Iterator[Piece]:
    """Yield every constant as a whole; of a recurrent node, each weight in a framework's order."""
    for constant in found.values():
        if not constant.weight_of:
            yield Piece(constant.label, (whole(constant),), constant)
        for node, slot in constant.weight_of:
            yield from _weights(constant, node, slot)


def whole(constant: Constant) -> Block:
    columns = constant.array.shape[-1] if constant.array.ndim else 1
    rows = constant.array.size // columns if columns else 0
    axes = tuple(range(constant.array.ndim))
    return Block(constant.name, axes, columns, columns, 0, rows)


def block_of(found: Mapping[str, Constant], block: Block) -> Array:
    """Return the rows of a block; ValueError where its constant has no such rows."""
    constant = found.get(block.constant)
    if constant is None:
        raise ValueError(f"there is no constant {block.constant!r}")
    if sorted(block.axes) != list(range(constant.array.ndim)) or not block.columns:
        raise ValueError(f"{block.constant!r} has {constant.array.ndim} axes")
    matrix = constant.array.transpose(block.axes).reshape(-1, block.columns)
    if block.start + block.rows > len(matrix) or block.width > block.columns:
        raise ValueError(f"{block.constant!r} has {len(matrix)} rows of {block.columns}")
    part = matrix[block.start : block.start + block.rows]
    if np.any(part[:, block.width :]):
        raise ValueError(f"{block.constant!r} is not padded with zeros")
    return np.asarray(part[:, : block.width])


def joined(found: Mapping[str, Constant], blocks: tuple[Block, ...]) -> Array:
    """Return blocks one below the other; ValueError where they do not fit."""
    parts = [block_of(found, block) for block in blocks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def bits(values: Array) -> Array:
    """Return numbers as unsigned integers of their size; integers are int64 first."""
    if values.dtype.kind in "iu" and values.dtype != np.uint64:
        values = values.astype(np.int64)
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}").reshape(values.shape)


def kind(values: Array) -> str:
    """Return what has to be the same for two arrays to be compared by their bits."""
    return "i" if values.dtype.kind in "iu" else values.dtype.str[1:]


def _weights(constant: Constant, node: Any, slot: int) -> Iterator[Piece]:
    """Yield each direction of a recurrent weight in every framework's order of gates.

    Of biases, those of the input, those of the state, and both.
    """
    operator = RECURRENT[node.op_type]
    gates, ways = len(operator.gates), directions(node)
    halves = STACKED[slot]
    total = prod(constant.shape[:2])
    if len(constant.shape) < 2 or total % (ways * halves * gates) or not total:
        return
    units = total // (ways * halves * gates)
    columns = constant.array.size // total
    axes = tuple(range(constant.array.ndim))
    for way in range(ways):
        where = f", direction {way + 1} of {ways}" if ways > 1 else ""
        for order, letters in _GATES[node.op_type].items():
            by = {"torch": "rows", "keras": "columns"}.get(order, "")
            stacks = []
            for half in range(halves):
                first = (way * halves + half) * gates
                starts = [(first + operator.gates.index(gate)) * units for gate in letters]
                stacks.append(
                    [Block(constant.name, axes, columns, columns, s, units) for s in starts]
                )
            text = f"{where}, gates {' '.join(operator.gates)}" if gates > 1 else where
            role = operator.inputs[slot]

            def made(
                part: str, blocks: tuple[Block, ...], text: str = text, by: str = by, way: int = way
            ) -> Piece:
                label = f"{node.op_type}.{part} ({node.name or node.output[0]}){text}"
                return Piece(label, blocks, constant, by, f"{node.output} {way}", part)

            for half, stack in enumerate(stacks):
                part = f"{role}{'[' + 'WR'[half] + ']' if halves > 1 else ''}"
                yield made(part, tuple(stack))
            if halves > 1:
                yield made(role, tuple(block for stack in stacks for block in stack))


def _scope(within: str, holder: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the constants of a graph or function and of those nested in it, with their readers."""
    readers: dict[str, list[tuple[Any, int]]] = {}
    for node in walk.nodes(holder):
        for slot, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, slot))
    for prefix, graph in _graphs(within, holder):
        given = {value if isinstance(value, str) else value.name for value in graph.output}
        for name, tensor in _tensors(graph).items():
            array = _array(tensor) if name in readers or name in given else None
            if array is not None:
                users = readers.get(name, [])
                yield (
                    prefix + name,
                    {
                        "array": array,
                        "label": _label(*users[0]) if users else f"constant {name!r}",
                        "weight_of": tuple(
                            (n, s) for n, s in users if is_recurrent(n) and s in STACKED
                        ),
                    },
                )


def _tensors(graph: Any) -> dict[str, TensorProto]:
    if hasattr(graph, "initializer"):
        return constants(graph)
    return constants(onnx.GraphProto(node=graph.node))


def _graphs(within: str, holder: Any) -> Iterator[tuple[str, Any]]:
    yield within, holder
    for node in holder.node:
        for body in walk.bodies(node):
            yield from _graphs(f"{within}{node.name or node.op_type}/", body)


def _array(tensor: TensorProto) -> Array | None:
    if tensor.data_location == TensorProto.EXTERNAL:
        return None
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except Exception:  # NumPy and onnx raise what they like for a tensor that lies
        return None
    return array if array.dtype.kind in _NUMBERS and array.size else None


def _label(node: Any, slot: int) -> str:
    operator = RECURRENT.get(node.op_type)
    inputs = operator.inputs if operator else ()
    role = inputs[slot] if slot < len(inputs) else f"input {slot}"
    return f"{node.op_type}.{role} ({node.name or node.output[0]})"
