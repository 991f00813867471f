"""A graph's declared inputs and outputs: read, completed by a specification and checked by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]

from harness.core.errors import CheckError, UsageError, clipped, one_line
from harness.core.reading import MODEL_BYTES, check_file, read_bytes
from harness.core.schema import BATCH, Axis, ModelSpec, TensorSpec
from harness.graphs import walk
from harness.graphs.inference import dims_of, infer

RUNTIMES_OWN = "com.microsoft"
ADDED = ("SimplifiedLayerNormalization",)
"""Operators that ONNX Runtime adds to ONNX's own domain."""


def name_axes(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """Return a copy whose declared inputs and outputs carry the specification's axis names.

    A dimension without a size gets the specification's name, unless it has a name that the
    specification gives to another axis. A tensor without a shape, or of another rank, stays as it
    is.
    """
    named = deepcopy(model)
    _name_axes(named, spec)
    return named


def complete(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """Return a model that is changed in place as ``fix_sizes`` and then ``name_axes`` do."""
    _fix_sizes(model, spec)
    _name_axes(model, spec)
    return model


def _name_axes(model: onnx.ModelProto, spec: ModelSpec) -> None:
    names = {BATCH, *spec.axes}
    inputs, outputs = model.graph.input, model.graph.output
    for dim, axis in [*_dims(inputs, spec.inputs), *_dims(outputs, spec.outputs)]:
        if isinstance(axis, str) and not dim.HasField("dim_value") and dim.dim_param not in names:
            dim.dim_param = axis


def name_inputs(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """Return a copy whose inputs have the specification's names, where only one of them can be.

    Inputs of other names are paired by dtype and shape; where that leaves a choice, or a new name
    is taken, the copy is as the model.
    """
    named = deepcopy(model)
    known = {tensor.name for tensor in spec.inputs}
    foreign = [value for value in walk.inputs(named.graph) if value.name not in known]
    own = {value.name for value in walk.inputs(named.graph)}
    missing = [tensor for tensor in spec.inputs if tensor.name not in own]
    fits = [[t.name for t in missing if _fits(value, t)] for value in foreign]
    new = [names[0] for names in fits if len(names) == 1]
    taken = {name for node in walk.nodes(named.graph) for name in (*node.input, *node.output)}
    if len(set(new)) < len(fits) or taken & set(new):
        return named
    old = dict(zip((value.name for value in foreign), new, strict=True))
    if any(value.name in old for value in named.graph.output):
        return named
    for value in foreign:
        value.name = old[value.name]
    for node in walk.nodes(named.graph):
        node.input[:] = [old.get(name, name) for name in node.input]
    return named


def _fits(value: Any, tensor: TensorSpec) -> bool:
    """Return whether an input may be the specified one: its dtype, rank and fixed sizes."""
    dims = dims_of(value.type)
    dtype = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return (
        value.type.tensor_type.elem_type == dtype
        and dims is not None
        and len(dims) == len(tensor.axes)
        and all(
            axis == dim or not (isinstance(axis, int) and isinstance(dim, int))
            for axis, dim in zip(tensor.axes, dims, strict=True)
        )
    )


def fix_sizes(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """Return a copy whose outputs carry the specification's fixed sizes where they have none.

    An exporter that infers no size leaves a symbol of its own, or nothing. A tensor without a
    shape, or of another rank, stays as it is. So do the inputs: a graph may have branches for
    sizes, and a fixed size allows only one of them.
    """
    filled = deepcopy(model)
    _fix_sizes(filled, spec)
    return filled


def _fix_sizes(model: onnx.ModelProto, spec: ModelSpec) -> None:
    for dim, axis in _dims(model.graph.output, spec.outputs):
        if isinstance(axis, int) and not dim.HasField("dim_value"):
            dim.dim_value = axis


def check(model: onnx.ModelProto, spec: ModelSpec, example_sizes: Mapping[str, int]) -> None:
    """Raise CheckError, in one line, where the graph is not valid ONNX or not what ``spec`` says.

    Names, count, dtypes, ranks and axes are compared; the order of inputs and outputs is free.
    ``example_sizes`` maps an axis to the size that it was exported with, to name a baked one.
    """
    _check_values("input", walk.inputs(model.graph), spec.inputs, example_sizes)
    _check_values("output", model.graph.output, spec.outputs, example_sizes)
    try:
        model = standard(model)
        onnx.checker.check_model(model)
        infer(model, check_type=True, strict_mode=True, data_prop=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ProtobufError,
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:
        raise CheckError(f"not valid ONNX: {_point(error)}") from error


def standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that ONNX's checker takes: what ONNX Runtime adds to ONNX's operators has the
    domain of ONNX Runtime's own. It is the same model where there is nothing of the kind.
    """
    if not any(map(_added, walk.nodes(model.graph, *model.functions))):
        return model
    model = deepcopy(model)
    for node in filter(_added, walk.nodes(model.graph, *model.functions)):
        node.domain = RUNTIMES_OWN
    for proto in (model, *model.functions):
        if RUNTIMES_OWN not in walk.opsets(proto):
            proto.opset_import.append(onnx.helper.make_opsetid(RUNTIMES_OWN, 1))
    return model


def _added(node: Any) -> bool:
    return node.op_type in ADDED and node.domain in walk.MAIN


def read(path: str) -> onnx.ModelProto:
    """Return the model in a file with its external data; CheckError where it cannot be read."""
    try:
        check_file(Path(path), MODEL_BYTES)
        model = onnx.load(path)
        _check_text(model, path)
        return model
    except UsageError as error:
        raise CheckError(str(error)) from error
    except (OSError, ProtobufError, ValueError, onnx.checker.ValidationError) as error:
        raise CheckError(f"{path} is not a readable ONNX model: {one_line(error)}") from error


def read_structure(path: Path) -> onnx.ModelProto:
    """Return the model in a file without its external data; UsageError where it is none."""
    try:
        data = read_bytes(path, MODEL_BYTES)
    except UsageError as error:
        expected = "" if "expected" in str(error) else "; expected an ONNX model"
        raise UsageError(f"{error}{expected}") from None
    try:
        model = onnx.load_model_from_string(data)
    except (ProtobufError, ValueError) as error:
        raise UsageError(f"{path} is not a readable ONNX model: {one_line(error)}") from None
    _check_text(model, path)
    parts = {
        "ir_version": model.ir_version > 0,
        "graph": model.HasField("graph"),
        "opset_import": len(model.opset_import) > 0,
    }
    if missing := [name for name, present in parts.items() if not present]:
        raise UsageError(f"{path} is not an ONNX model, or is cut short: no {', '.join(missing)}")
    return model


def _check_text(model: Any, path: Path | str) -> None:
    """Raise UsageError where a text in the model is not UTF-8: reading it later would raise."""
    waiting = [model]
    try:
        while waiting:
            for field, value in waiting.pop().ListFields():
                if field.message_type is not None:
                    waiting.extend(value if field.is_repeated else [value])
                elif field.is_repeated and field.type == field.TYPE_STRING:
                    list(value)
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a readable ONNX model: a name is not UTF-8") from None


def _check_values(
    kind: str,
    values: Sequence[Any],
    tensors: tuple[TensorSpec, ...],
    example_sizes: Mapping[str, int],
) -> None:
    names = [value.name for value in values]
    expected = [tensor.name for tensor in tensors]
    if sorted(names) != sorted(expected):
        raise CheckError(
            f"{kind}s are {', '.join(names) or 'none'}; expected {', '.join(expected)}"
            f"{_difference(names, expected)}"
        )
    for value, tensor in _pairs(values, tensors):
        _check_value(f"{kind} {value.name!r}", value, tensor, example_sizes)


def _difference(declared: list[str], expected: list[str]) -> str:
    differences = {
        "missing": [name for name in expected if name not in declared],
        "extra": [name for name in declared if name not in expected],
        "twice": sorted({name for name in declared if declared.count(name) > 1}),
    }
    words = [f"{word} {', '.join(names)}" for word, names in differences.items() if names]
    return f" ({'; '.join(words)})"


def _check_value(
    what: str, value: Any, tensor: TensorSpec, example_sizes: Mapping[str, int]
) -> None:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise CheckError(f"{what} is a {kind or 'value without a type'}, expected a tensor")
    dtype = _dtype(value.type.tensor_type.elem_type)
    if dtype != tensor.dtype:
        raise CheckError(f"{what} is {dtype}, expected {tensor.dtype}")
    dims = dims_of(value.type)
    if dims is None:
        raise CheckError(f"{what} declares no shape, expected {_shape_text(tensor.axes)}")
    if len(dims) != len(tensor.axes):
        shape = _shape_text(["?" if dim is None else dim for dim in dims])
        raise CheckError(f"{what} is {shape}, expected {_shape_text(tensor.axes)}")
    for position, (dim, axis) in enumerate(zip(dims, tensor.axes, strict=True)):
        shown = "?" if dim is None else dim
        if shown == axis:
            continue
        text = f"{what} axis {position} is {shown!r}, expected {axis!r}"
        if isinstance(axis, str) and shown == example_sizes.get(axis):
            text += f": the example {'batch' if axis == BATCH else 'length'} is baked in"
        raise CheckError(text)


def _pairs(values: Iterable[Any], tensors: tuple[TensorSpec, ...]) -> list[tuple[Any, TensorSpec]]:
    """Return each declared value that the specification has, with its specification."""
    by_name = {tensor.name: tensor for tensor in tensors}
    return [(value, by_name[value.name]) for value in values if value.name in by_name]


def _dims(values: Iterable[Any], tensors: tuple[TensorSpec, ...]) -> Iterator[tuple[Any, Axis]]:
    """Yield each declared dimension and its axis, of values that have the specification's rank."""
    for value, tensor in _pairs(values, tensors):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == len(tensor.axes):
            yield from zip(dims, tensor.axes, strict=True)


def _shape_text(axes: Iterable[str | int]) -> str:
    return f"[{', '.join(map(str, axes))}]"


def _dtype(element: int) -> str:
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(element))
    except KeyError:
        return f"element type {element}"


def _point(error: BaseException) -> str:
    """Return the message of onnx's checker up to its dump of the node."""
    lines = (line.strip() for line in str(error).splitlines())
    point = takewhile(lambda line: not line.startswith("==> Context"), lines)
    return clipped(" ".join(filter(None, point)) or type(error).__name__)
