"""The exporters of the frameworks, and tf2onnx, unchanged."""
