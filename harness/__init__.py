"""Prove that a sequence model exported to ONNX computes what was trained, at every length."""

from harness.commands import interrupts as interrupts  # isort: skip
from harness.api import export, validate

__version__ = "0.1.0"
__all__ = ["__version__", "export", "validate"]
