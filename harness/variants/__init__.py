"""Variants: ``onnx.ModelProto`` in, ``onnx.ModelProto`` out, one file each."""

VARIANTS: dict[str, str] = {"fp32": "harness.variants.fp32:convert"}
