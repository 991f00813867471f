"""Exporters: framework model in, ``onnx.ModelProto`` out.

``export(model, spec, example, opset)`` takes a model built by ``harness.frameworks``, its
specification and example inputs whose batch and lengths coincide with no other size in the model.
It raises ExportError with one line that says what could not be exported.
"""

from harness.core.registry import extended

DEFAULT_OPSET = 18
OPSETS = range(18, 27)
"""From the first with every operator of native exports to the newest that ONNX Runtime 1.31
loads."""

OURS: dict[str, str] = {
    "native/keras": "harness.exporters.keras.native:export",
    "native/torch": "harness.exporters.torch.native:export",
    "tf2onnx/keras": "harness.exporters.stock.tf2onnx:export",
    "keras-export/keras": "harness.exporters.stock.keras:export",
    "torch-dynamo/torch": "harness.exporters.stock.torch_export:dynamo",
    "torch-script/torch": "harness.exporters.stock.torch_export:script",
}
BRANCHED = "branch"
"""The metadata of a native model that takes one side of a branch: what the branch is."""
EXPORTERS: dict[str, str] = extended("harness.exporters", OURS)
