"""Element types wider or narrower than what the model takes and gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import TensorProto, numpy_helper

from harness.graphs.inference import Facts
from harness.linting.finding import Finding

MANY = 1024
"""Elements from which an int64 constant is data, not the shape or the index of something."""
INT32 = np.iinfo(np.int32)
REDUCED = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}


def wide_dtype(facts: Facts) -> Iterator[Finding]:
    """float64 where inputs and outputs have none, or large int64 constants that fit in int32."""
    if TensorProto.DOUBLE not in _public(facts):
        yield from _doubles(facts)
    for scope in facts.scopes:
        for tensor in scope.graph.initializer:
            external = tensor.data_location == TensorProto.EXTERNAL
            if tensor.data_type != TensorProto.INT64 or external or np.prod(tensor.dims) < MANY:
                continue
            values = numpy_helper.to_array(tensor)
            if INT32.min <= values.min() and values.max() <= INT32.max:
                yield Finding(
                    "wide-dtype",
                    "warning",
                    f"{scope.within}initializer {tensor.name!r}",
                    f"{values.size} int64 values that all fit in int32",
                    "store int32 and Cast where int64 is required",
                )


def reduced_dtype(facts: Facts) -> Iterator[Finding]:
    """float16 or bfloat16 constants in a model whose inputs and outputs are float32."""
    public = _public(facts)
    if public & set(REDUCED) or TensorProto.FLOAT not in public:
        return
    for kind, name in REDUCED.items():
        if places := _constants(facts, kind):
            yield Finding(
                "reduced-dtype",
                "warning",
                places[0],
                f"{name}, as {len(places)} constants are, in a model of float32",
                "keep float32, or name the reduced precision as a variant of its own",
            )


def _public(facts: Facts) -> set[int]:
    """Return the element types of inputs and outputs."""
    values = [*facts.graph.input, *facts.graph.output]
    return {value.type.tensor_type.elem_type for value in values}


def _constants(facts: Facts, dtype: int) -> list[str]:
    return [
        f"constant {name!r}"
        for scope in facts.scopes
        for name, tensor in scope.own_constants.items()
        if tensor.data_type == dtype
    ]


def _doubles(facts: Facts) -> Iterator[Finding]:
    """Yield one finding for all constants and one for all nodes, each at the first."""
    nodes = [
        scope.label(node)
        for scope, node in facts.nodes()
        if node.op_type != "Constant"
        and any(scope.dtype(name) == TensorProto.DOUBLE for name in node.output if name)
    ]
    constants = _constants(facts, TensorProto.DOUBLE)
    for places, what in ((constants, "constants are"), (nodes, "nodes compute")):
        if places:
            yield Finding(
                "wide-dtype",
                "warning",
                places[0],
                f"float64, as {len(places)} {what}, in a model that takes and gives none",
                "make the constants float32 and drop the Cast to double",
            )
