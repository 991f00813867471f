"""The exporters of the frameworks and of tf2onnx, as they come."""
