"""PyTorch's own exporters with native recurrent nodes for the recurrent layers of a model.

What is traced is a copy of the model whose recurrent layers and packed sequences emit ONNX nodes,
as for the native exporter; all else is the stock exporter's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import onnx
import torch
from torch import Tensor, nn

from harness.core.schema import Arrays, ModelSpec
from harness.exporters.finish import drop_unused
from harness.exporters.stock import torch_export
from harness.exporters.torch.layers import name_layers
from harness.exporters.torch.tracing import native_parts
from harness.exporters.torch.weights import copied

_LETTERS = {int: "i", float: "f", str: "s"}
"""How TorchScript's exporter marks the type of an attribute, by that of its values."""


def has_layers(model: Any) -> bool:
    """Return whether a model has recurrent layers that native nodes can stand for."""
    return isinstance(model, nn.Module) and any(
        isinstance(module, nn.RNNBase) for module in model.modules()
    )


def dynamo(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """Export as ``torch_export.dynamo``, the recurrent layers as native nodes."""
    copy = copied(model)
    with native_parts(copy):
        return _tidy(torch_export.dynamo(copy, spec, example, opset))


def script(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """Export as ``torch_export.script``, the recurrent layers as native nodes."""
    copy = copied(model)
    with native_parts(copy), _traced_by_values():
        return _tidy(torch_export.script(copy, spec, example, opset))


def _tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    name_layers(model.graph)
    drop_unused(model)
    return model


class _Node(torch.autograd.Function):  # type: ignore[misc]
    """An ONNX node in a TorchScript trace, which has zeros for what the node would give."""

    @staticmethod
    def forward(
        ctx: Any,
        operator: str,
        attributes: Mapping[str, Any],
        dtypes: Sequence[torch.dtype],
        shapes: Sequence[Sequence[Any]],
        *inputs: Tensor | None,
    ) -> Tensor | tuple[Tensor, ...]:
        sizes = [[int(size) for size in shape] for shape in shapes]
        zeros = [torch.zeros(s, dtype=dtype) for s, dtype in zip(sizes, dtypes, strict=True)]
        return tuple(zeros) if len(zeros) > 1 else zeros[0]

    @staticmethod
    def symbolic(
        graph: Any,
        operator: str,
        attributes: Mapping[str, Any],
        dtypes: Sequence[torch.dtype],
        shapes: Sequence[Sequence[Any]],
        *inputs: Any,
    ) -> Any:
        values = [_nothing(graph) if value is None else value for value in inputs]
        marked = {
            f"{name}_{_LETTERS[type(value[0] if isinstance(value, list) else value)]}": value
            for name, value in attributes.items()
        }
        return graph.op(operator.removeprefix("::"), *values, outputs=len(dtypes), **marked)


def _nothing(graph: Any) -> Any:
    """Return what stands for an input that is left out."""
    value = graph.op("prim::Constant")
    value.setType(torch._C.OptionalType.ofTensor())
    return value


def _several(
    operator: str, inputs: Sequence[Any], attributes: Mapping[str, Any], *, dtypes: Any, shapes: Any
) -> list[Tensor]:
    """Stand in for ``torch.onnx.ops.symbolic_multi_out``."""
    given = list(inputs)
    while given and given[-1] is None:
        given.pop()
    return list(_Node.apply(operator, attributes, tuple(dtypes), tuple(shapes), *given))


def _one(
    operator: str, inputs: Sequence[Any], attributes: Mapping[str, Any], *, dtype: Any, shape: Any
) -> Tensor:
    """Stand in for ``torch.onnx.ops.symbolic``."""
    given: Tensor = _Node.apply(operator, attributes, (dtype,), (shape,), *inputs)
    return given


@contextmanager
def _traced_by_values() -> Iterator[None]:
    """Let ONNX nodes be emitted in a TorchScript trace, whose sizes are tensors."""
    with (
        patch.object(torch.onnx.ops, "symbolic", _one),
        patch.object(torch.onnx.ops, "symbolic_multi_out", _several),
        patch.object(torch, "_check", lambda *_: None),
    ):
        yield
