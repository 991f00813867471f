"""Which constants of a graph went through float32: those that no parameter of the model holds.

What is derived, such as a folded batch norm or ``1 / sqrt(8)``, has a finer value in the
framework's float64 run than in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from harness.core.schema import Array
from harness.graphs import walk
from harness.graphs.attributes import constants

EXACT_BITS = 12
"""Zeros at the end of a mantissa that chance does not give: the value was exact from the start."""
HASH_BITS = 24
PART = 1 << 16
SMALL = 4096
"""Elements of a constant that is looked up itself, and not by its hashes."""


def exact(values: Array) -> Array:
    """Return where float32 values are integers or short binary fractions, such as 0.75."""
    narrow = np.ascontiguousarray(values, np.float32)
    short = (narrow.view(np.uint32) & ((1 << EXACT_BITS) - 1)) == 0
    return np.asarray(short | (narrow == np.rint(narrow)) | ~np.isfinite(narrow))


def constants_beyond(model: Any, parameters: Mapping[str, Array]) -> list[str]:
    """Return the float32 constants with a value that is neither ``exact`` nor a parameter's.

    Of a large one the bits' hashes are compared: some of a derived one are none of a parameter's.
    """
    known = [_bits(value) for value in parameters.values() if value.dtype == np.float32]
    whole = {_fingerprint(bits) for bits in known}
    small, large = [], []
    for name, tensor in _floats(model):
        value = numpy_helper.to_array(tensor)
        if _fingerprint(_bits(value)) in whole:
            continue
        if value.size <= SMALL:
            small.append((name, value))
        else:
            large.append((name, tensor))  # its values are another copy
    wanted = _marked(_bits(value) for _, value in small)
    parts = (part[_found(wanted, part)] for bits in known if small for part in _parts(bits))
    few = np.concatenate([np.zeros(1, np.uint32), *parts])
    names = {n for n, v in small if not _all_exact(_bits(v), np.isin(_bits(v), few))}
    table = _marked(known if large else [])
    for name, tensor in large:
        bits = _bits(numpy_helper.to_array(tensor))
        if not all(_all_exact(part, _found(table, part)) for part in _parts(bits)):
            names.add(name)
    return list(dict.fromkeys(name for name, _ in _floats(model) if name in names))


def _fingerprint(bits: Array) -> tuple[int, int, int]:
    """Return figures that a tensor and no other is likely to have, in whatever order it is."""
    return bits.size, int(bits.sum(dtype=np.uint64)), int(np.bitwise_xor.reduce(bits))


def _bits(value: Array) -> Array:
    return np.ascontiguousarray(value).reshape(-1).view(np.uint32)


def _hashes(bits: Array) -> Array:
    return np.asarray((bits * np.uint32(2654435761)) >> np.uint32(32 - HASH_BITS))


def _parts(bits: Array) -> Iterator[Array]:
    """Yield values in parts, whose hashes take little memory."""
    return (bits[first : first + PART] for first in range(0, len(bits), PART))


def _marked(values: Iterable[Array]) -> Array:
    """Return a table with a bit for every hash, which is set where one of the values has it."""
    table = np.zeros(1 << (HASH_BITS - 3), np.uint8)
    for part in (part for bits in values for part in _parts(bits)):
        hashes = _hashes(part)
        np.bitwise_or.at(table, hashes >> 3, np.uint8(1) << (hashes & 7).astype(np.uint8))
    return table


def _found(table: Array, bits: Array) -> Array:
    hashes = _hashes(bits)
    return np.asarray((table[hashes >> 3] >> (hashes & 7).astype(np.uint8)) & 1 != 0)


def _all_exact(bits: Array, found: Array) -> bool:
    return bool(exact(bits[~found].view(np.float32)).all())


def _floats(model: Any) -> Iterator[tuple[str, TensorProto]]:
    nodes = list(walk.nodes(model.graph, *model.functions))
    for graph in (model.graph, *(body for node in nodes for body in walk.bodies(node))):
        for name, tensor in constants(graph).items():
            if tensor.data_type == TensorProto.FLOAT:
                yield name, tensor
