"""Prove that a sequence model exported to ONNX computes what was trained, at every length."""

__version__ = "0.1.0"
