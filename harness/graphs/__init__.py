"""ONNX graphs read and edited; nothing is run."""
