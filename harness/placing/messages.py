"""ONNX Runtime's error messages, made readable."""

from __future__ import annotations

import re

from harness.core.errors import clipped

_READ = 4096
"""Characters of a message that are looked at: a name in it may have any length."""


def shortened(error: BaseException) -> str:
    """Return ONNX Runtime's message as one line, without its codes, source paths and advice."""
    text = " ".join(str(error)[:_READ].split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", text)
    text = re.sub(r"Non-zero status code .* running (\w+) node\. Name:", r"\1 node ", text)
    text = re.sub(r"/\S+\.(?:cc|cu|cuh|h|hpp):\d+ ", "", text)
    text = re.sub(r"(?:\w+ )?onnxruntime::[\w:~]+\(.*?\)(?: const)? ", "", text)
    text = text.replace(" Status Message: ", ": ")
    text = text.removesuffix("Please fix either the inputs/outputs or the model.").strip()
    text = text or type(error).__name__
    return clipped(text)
