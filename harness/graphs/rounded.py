"""Which constants of a graph went through float32: those that no parameter of the model holds.

What is derived, such as a folded batch norm or ``1 / sqrt(8)``, has a finer value in the
framework's float64 run than in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from harness.core.schema import Array
from harness.graphs import walk
from harness.graphs.attributes import constants

EXACT_BITS = 12
"""Zeros at the end of a mantissa that chance does not give: the value was exact from the start."""
HASH_BITS = 24
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
    held = [(name, v) for name, v in _floats(model) if _fingerprint(_bits(v)) not in whole]
    small = [_bits(value) for _, value in held if value.size <= SMALL]
    wanted = _marked(small)
    few = np.concatenate(
        [np.zeros(1, np.uint32), *(bits[wanted[_hashes(bits)]] for bits in known if small)]
    )
    table = _marked(known if len(small) < len(held) else [])
    names = []
    for name, value in held:
        bits = _bits(value)
        found = np.isin(bits, few) if value.size <= SMALL else table[_hashes(bits)]
        if not exact(value.reshape(-1)[~found]).all():
            names.append(name)
    return list(dict.fromkeys(names))


def _fingerprint(bits: Array) -> tuple[int, int, int]:
    """Return figures that a tensor and no other is likely to have, in whatever order it is."""
    return bits.size, int(bits.sum(dtype=np.uint64)), int(np.bitwise_xor.reduce(bits))


def _bits(value: Array) -> Array:
    return np.ascontiguousarray(value).reshape(-1).view(np.uint32)


def _hashes(bits: Array) -> Array:
    return np.asarray((bits * np.uint32(2654435761)) >> np.uint32(32 - HASH_BITS))


def _marked(values: Sequence[Array]) -> Array:
    """Return a table that is true at the hash of every one of the values."""
    table = np.zeros(1 << HASH_BITS, bool)
    for bits in values:
        table[_hashes(bits)] = True
    return table


def _floats(model: Any) -> Iterator[tuple[str, Array]]:
    nodes = list(walk.nodes(model.graph, *model.functions))
    for graph in (model.graph, *(body for node in nodes for body in walk.bodies(node))):
        for name, tensor in constants(graph).items():
            if tensor.data_type == TensorProto.FLOAT:
                yield name, np.ascontiguousarray(numpy_helper.to_array(tensor))
