"""What a file declares less of than is known: the sizes of its outputs."""

from __future__ import annotations

from copy import deepcopy

import onnx

from harness.core.schema import ModelSpec


def completed(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """A copy in which an output's dimension without a size has that of the specification.

    Only fixed sizes are filled in: an exporter that infers none leaves a symbol of its own, or
    nothing. What the file declares stays; so does a tensor with no shape, or of another rank. An
    input stays as it is: a graph may have branches for sizes of which a fixed one allows one alone.
    """
    filled = deepcopy(model)
    known = {tensor.name: tensor.axes for tensor in spec.outputs}
    for value in filled.graph.output:
        dims = value.type.tensor_type.shape.dim
        axes = known.get(value.name, ())
        for dim, axis in zip(dims, axes, strict=False) if len(dims) == len(axes) else ():
            if isinstance(axis, int) and not dim.HasField("dim_value"):
                dim.dim_value = axis
    return filled
