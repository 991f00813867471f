"""Prove that a sequence model exported to ONNX computes what was trained, at every length."""

from harness import interrupts as interrupts
from harness.api import export, validate

__version__ = "0.1.0"
__all__ = ["__version__", "export", "validate"]
