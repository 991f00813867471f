"""Which constants of a graph went through float32: those that no parameter of the model holds.

What is derived, such as a folded batch norm or ``1 / sqrt(8)``, has a finer value in the
framework's float64 run than in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from harness.core.schema import Array
from harness.graphs import walk
from harness.graphs.attributes import constants

EXACT_BITS = 12
"""Zeros at the end of a mantissa that chance does not give: the value was exact from the start."""


def exact(values: Array) -> Array:
    """Return where float32 values are integers or short binary fractions, such as 0.75."""
    narrow = np.ascontiguousarray(values, np.float32)
    short = (narrow.view(np.uint32) & ((1 << EXACT_BITS) - 1)) == 0
    return np.asarray(short | (narrow == np.rint(narrow)) | ~np.isfinite(narrow))


def constants_beyond(model: Any, parameters: Mapping[str, Array]) -> list[str]:
    """Return the float32 constants with a value that is neither ``exact`` nor a parameter's."""
    narrow = [v.reshape(-1).view(np.uint32) for v in parameters.values() if v.dtype == np.float32]
    known = np.unique(np.concatenate([*narrow, np.zeros(1, np.uint32)]))
    names = []
    for name, value in _floats(model):
        bits = value.reshape(-1).view(np.uint32)
        places = np.searchsorted(known, bits).clip(max=known.size - 1)
        if not np.all((known[places] == bits) | exact(value).reshape(-1)):
            names.append(name)
    return list(dict.fromkeys(names))


def _floats(model: Any) -> Iterator[tuple[str, Array]]:
    nodes = list(walk.nodes(model.graph, *model.functions))
    for graph in (model.graph, *(body for node in nodes for body in walk.bodies(node))):
        for name, tensor in constants(graph).items():
            if tensor.data_type == TensorProto.FLOAT:
                yield name, np.ascontiguousarray(numpy_helper.to_array(tensor))
