"""Runtimes: ONNX in, outputs and evidence out, one file each (``harness.schema.Runtime``)."""

RUNTIMES: dict[str, str] = {
    "ort-cpu": "harness.runtimes.ort:CPU",
    "ort-cuda": "harness.runtimes.ort:CUDA",
    "onnx-reference": "harness.runtimes.onnx_reference:REFERENCE",
}
