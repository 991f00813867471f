"""TensorFlow function in, ONNX out, with any ONNX node inside the TensorFlow graph.

``node`` traces as a ``PyFuncStateless`` that is never executed: its token names the ONNX node by
which a tf2onnx handler replaces it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import TypeProto, helper

from harness.core import places
from harness.core.errors import ExportError
from harness.core.places import at
from harness.exporters.quiet import tf2onnx_errors
from harness.graphs.inference import dims_of

OPSET = 18
_CALLER = str(Path(__file__).with_name("native.py"))
LOOP = "as_a_loop"
"""The name scope of recurrences that may be a ``Loop``."""
_BRANCH = (
    "takes a branch, which has no form without control flow",
    "choose with keras.ops.where; tf2onnx may write it as an If",
)
_UNKNOWN = re.compile(r"\[(?P<name>[^\]:]+): (?P<op>\w+)\] is not supported")
_REFUSED = {
    "Random": ("draws random numbers at inference", "make what is drawn an input"),
    "Assign": (
        "changes a variable, which an ONNX graph cannot do",
        "make the variable an input and its next value an output",
    ),
    "While": (
        "loops over time in a way that is no LSTM, GRU or RNN node",
        "use a recurrent layer; tf2onnx may write it as a Loop",
    ),
    "If": _BRANCH,
    "Case": _BRANCH,
}

Tensor = Any


def node(op: str, *inputs: Tensor | np.ndarray | None, **attributes: Any) -> Any:
    """Add an ONNX node of opset 18 and return its output, a tuple where the op has several.

    An array becomes a constant, None an omitted input, an attribute that is None is left out.
    Dtypes and shapes follow from ONNX's own inference.
    """
    tensors = [tf.constant(x) if isinstance(x, np.ndarray) else x for x in inputs]
    attributes = {key: value for key, value in attributes.items() if value is not None}
    names = ["" if x is None else f"x{i}" for i, x in enumerate(tensors)]
    schema = onnx.defs.get_schema(op, OPSET)
    outputs = [f"y{i}" for i in range(len(schema.outputs))]
    types = onnx.shape_inference.infer_node_outputs(
        schema,
        helper.make_node(op, names, outputs, **attributes),
        {name: _type_of(x) for name, x in zip(names, tensors, strict=True) if name},
        {
            name: onnx.numpy_helper.from_array(x)
            for name, x in zip(names, inputs, strict=True)
            if isinstance(x, np.ndarray)
        },
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    results = tf.raw_ops.PyFuncStateless(
        input=[x for x in tensors if x is not None],
        name=op,
        token=json.dumps([op, [bool(name) for name in names], attributes]),
        Tout=[helper.tensor_dtype_to_np_dtype(types[y].tensor_type.elem_type) for y in outputs],
    )
    shaped = tuple(_shaped(result, types[y]) for result, y in zip(results, outputs, strict=True))
    return shaped if len(shaped) > 1 else shaped[0]


def _type_of(tensor: Tensor) -> TypeProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype.as_numpy_dtype))
    shape = None if tensor.shape.rank is None else tensor.shape.as_list()
    return helper.make_tensor_type_proto(dtype, shape)


def _shaped(result: Tensor, declared: TypeProto) -> Tensor:
    dims = dims_of(declared)
    sizes = [dim if isinstance(dim, int) else None for dim in dims or ()]
    return result if dims is None else tf.ensure_shape(result, sizes)


def convert(function: Any, signature: Sequence[tf.TensorSpec]) -> onnx.ModelProto:
    """Return a function as an ONNX model at opset 18, with its inputs and outputs in their order.

    ExportError names the first TensorFlow op that has no ONNX equivalent.
    """
    graph = function.get_concrete_function(*signature).graph
    operations = graph.get_operations()
    for kind, (reason, way) in _REFUSED.items():
        for operation in operations:
            loop = kind == "While" and f"/{LOOP}/" in operation.name
            if operation.type.removeprefix("Stateless").startswith(kind) and not loop:
                raise ExportError(f"{operation.name}: {reason}{_place(operation)}; {way}")
    with tf2onnx_errors() as errors:
        model, _ = tf2onnx.convert.from_function(
            function, signature, opset=OPSET, custom_op_handlers=_HANDLERS
        )
    if errors:
        raise _unknown(errors[0].splitlines()[0], operations)
    _fill(model.graph, graph.captures)
    return model


def _place(operation: Any) -> str:
    """Return where in the user's code an operation is from, as ``at`` has it."""
    frames = [(frame.filename, frame.lineno) for frame in operation.traceback or ()]
    called = [n for n, (file, _) in enumerate(frames) if file == _CALLER]
    return at(places.of_frames(reversed(frames[called[-1] :] if called else [])))


def _unknown(text: str, operations: Sequence[Any]) -> ExportError:
    """Return the error for what tf2onnx says of an operation that it cannot convert."""
    if (match := _UNKNOWN.search(text)) is None:
        return ExportError(f"no exact ONNX equivalent: {text}")
    places_of = [_place(operation) for operation in operations if operation.name == match["name"]]
    return ExportError(
        f"{match['name']}: TensorFlow's {match['op']} is not supported: it has no ONNX operator"
        f"{''.join(places_of[:1])}; write it with operators that ONNX has"
    )


def _fill(graph: onnx.GraphProto, captures: Sequence[tuple[Any, Any]]) -> None:
    """Make the tensors that a function captured by value constants; tf2onnx makes them inputs."""
    values = {inner.name: outer for outer, inner in captures if outer.dtype != tf.resource}
    for given in [value for value in graph.input if value.name in values]:
        array = np.asarray(values[given.name])
        graph.initializer.append(onnx.numpy_helper.from_array(array, given.name))
        graph.input.remove(given)


def _onnx_node(ctx: Any, stand_in: Any, name: str, args: Any) -> None:
    op, present, attributes = json.loads(stand_in.get_attr("token").s)
    remaining = iter(stand_in.input)
    inputs = [next(remaining) if is_present else "" for is_present in present]
    _replace(ctx, stand_in, op, inputs, attributes)


def _where(ctx: Any, node: Any, name: str, args: Any) -> None:
    _replace(ctx, node, "Where", node.input)


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    erf = ctx.make_node("Erf", node.input).output[0]
    _replace(ctx, node, "Sub", [_constant_one(ctx, node), erf])


def _expm1(ctx: Any, node: Any, name: str, args: Any) -> None:
    exp = ctx.make_node("Exp", node.input).output[0]
    _replace(ctx, node, "Sub", [exp, _constant_one(ctx, node)])


def _constant_one(ctx: Any, node: Any) -> str:
    dtype = tf2onnx.utils.map_onnx_to_numpy_type(ctx.get_dtype(node.output[0]))
    return str(ctx.make_const(tf2onnx.utils.make_name("one"), np.ones((), dtype)).output[0])


def _replace(
    ctx: Any, node: Any, op: str, inputs: Sequence[str], attributes: dict[str, Any] | None = None
) -> None:
    inputs, outputs, name = list(inputs), list(node.output), node.name
    shapes, dtypes = node.output_shapes, node.output_dtypes
    ctx.remove_node(name)
    ctx.make_node(
        op, inputs, attr=attributes, outputs=outputs, name=name, shapes=shapes, dtypes=dtypes
    )


_HANDLERS: dict[str, tuple[Callable[..., None], list[str]]] = {
    "PyFuncStateless": (_onnx_node, []),
    "SelectV2": (_where, []),
    "Erfc": (_erfc, []),
    "Expm1": (_expm1, []),
}
