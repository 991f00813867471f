"""Variants: ``onnx.ModelProto`` in, ``onnx.ModelProto`` out, one function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

VARIANTS: dict[str, str] = {"fp32": "harness.exporters.variants:fp32"}


def fp32(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model as it was exported."""
    return model
