"""What a graph declares, set against a model's specification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]

from harness.core.errors import CheckError, UsageError, clipped, one_line
from harness.core.schema import BATCH, ModelSpec, TensorSpec
from harness.graphs import walk
from harness.graphs.inference import dims_of


def name_axes(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """A copy whose declared inputs and outputs carry the specification's axis names.

    A dimension that has a symbol of its own or none, where the specification has a name, gets
    that name. Fixed sizes stay, and so does a name that the specification has for another axis;
    a tensor with no shape, or of another rank, is left alone.
    """
    named = deepcopy(model)
    known = {BATCH, *spec.axes}
    for value, tensor in [
        *_pairs(named.graph.input, spec.inputs),
        *_pairs(named.graph.output, spec.outputs),
    ]:
        dims = value.type.tensor_type.shape.dim
        if len(dims) != len(tensor.axes):
            continue
        for dim, axis in zip(dims, tensor.axes, strict=True):
            fixed = dim.HasField("dim_value")
            if isinstance(axis, str) and not fixed and dim.dim_param not in known:
                dim.dim_param = axis
    return named


def check(model: onnx.ModelProto, spec: ModelSpec, example_sizes: Mapping[str, int]) -> None:
    """CheckError, in one line, where the graph is not valid ONNX or not what ``spec`` says.

    Names, count, dtypes, ranks and axes are compared; the order of inputs and outputs is free.
    ``example_sizes``, an axis name to the size it was exported with, tells a baked example size
    from any other fixed one.
    """
    _check_values("input", walk.inputs(model.graph), spec.inputs, example_sizes)
    _check_values("output", model.graph.output, spec.outputs, example_sizes)
    try:
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ProtobufError,
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:
        raise CheckError(f"not valid ONNX: {_point(error)}") from error


def read(path: str) -> onnx.ModelProto:
    """The model in a file, its external data included; CheckError where it cannot be read."""
    try:
        return onnx.load(path)
    except (OSError, ProtobufError, ValueError, onnx.checker.ValidationError) as error:
        raise CheckError(f"{path} is not a readable ONNX model: {one_line(error)}") from error


def read_structure(path: Path) -> onnx.ModelProto:
    """The model in a file, its external data left where it is; UsageError where it is none."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected an ONNX model") from None
    except (ProtobufError, ValueError) as error:
        raise UsageError(f"{path} is not a readable ONNX model: {one_line(error)}") from None
    parts = {
        "ir_version": model.ir_version > 0,
        "graph": model.HasField("graph"),
        "opset_import": len(model.opset_import) > 0,
    }
    if missing := [name for name, there in parts.items() if not there]:
        raise UsageError(f"{path} is not an ONNX model, or is cut short: no {', '.join(missing)}")
    return model


def _check_values(
    kind: str,
    values: Sequence[Any],
    tensors: tuple[TensorSpec, ...],
    example_sizes: Mapping[str, int],
) -> None:
    there = [value.name for value in values]
    expected = [tensor.name for tensor in tensors]
    if sorted(there) != sorted(expected):
        raise CheckError(
            f"{kind}s are {', '.join(there) or 'none'}; expected {', '.join(expected)}"
            f"{_difference(there, expected)}"
        )
    for value, tensor in _pairs(values, tensors):
        _check_value(f"{kind} {value.name!r}", value, tensor, example_sizes)


def _difference(there: list[str], expected: list[str]) -> str:
    missing = [name for name in expected if name not in there]
    extra = [name for name in there if name not in expected]
    twice = sorted({name for name in there if there.count(name) > 1})
    told = [
        f"{word} {', '.join(names)}"
        for word, names in (("missing", missing), ("extra", extra), ("twice", twice))
        if names
    ]
    return f" ({'; '.join(told)})"


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
        found = _shape_text(["?" if dim is None else dim for dim in dims])
        raise CheckError(f"{what} is {found}, expected {_shape_text(tensor.axes)}")
    for position, (dim, axis) in enumerate(zip(dims, tensor.axes, strict=True)):
        shown = "?" if dim is None else dim
        if shown == axis:
            continue
        text = f"{what} axis {position} is {shown!r}, expected {axis!r}"
        if isinstance(axis, str) and shown == example_sizes.get(axis):
            text += f": the example {'batch' if axis == BATCH else 'length'} is baked in"
        raise CheckError(text)


def _pairs(values: Iterable[Any], tensors: tuple[TensorSpec, ...]) -> list[tuple[Any, TensorSpec]]:
    """(declared value, its specification) wherever the names agree."""
    by_name = {tensor.name: tensor for tensor in tensors}
    return [(value, by_name[value.name]) for value in values if value.name in by_name]


def _shape_text(axes: Iterable[str | int]) -> str:
    return f"[{', '.join(map(str, axes))}]"


def _dtype(element: int) -> str:
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(element))
    except KeyError:
        return f"element type {element}"


def _point(error: BaseException) -> str:
    """The message of onnx's checker without its banners and its dump of the node."""
    told = []
    for line in (line.strip() for line in str(error).splitlines()):
        if line.startswith("==> Context"):
            break
        if line:
            told.append(line)
    text = " ".join(told) or type(error).__name__
    return clipped(text)
