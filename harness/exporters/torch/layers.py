"""The recurrent nodes of a converted model: their names, and the lengths that they need."""

from __future__ import annotations

import re
from collections import Counter

import onnx

from harness.graphs.recurrent import SEQUENCE_LENS, Y_C, W, is_recurrent
from harness.graphs.walk import nodes, trimmed, used

_WEIGHT = re.compile(r"W_(?:h0_)?(l\d+_\w+)$")


def name_layers(graph: onnx.GraphProto) -> None:
    """Name recurrent nodes after their layers; an LSTM without its cell state has no lengths."""
    weights = {weight.name for weight in graph.initializer}
    read = used(graph)
    count: Counter[str] = Counter()
    for node in nodes(graph):
        if not is_recurrent(node):
            continue
        layer = _WEIGHT.sub(r"\1", node.input[W] if node.input[W] in weights else node.name)
        count[layer] += 1
        node.name = layer if count[layer] == 1 else f"{layer}_{count[layer]}"
        if (
            node.op_type == "LSTM"
            and len(node.input) > SEQUENCE_LENS
            and not read.intersection(node.output[Y_C:])
        ):
            node.input[SEQUENCE_LENS] = ""
            node.input[:] = trimmed(node.input)
