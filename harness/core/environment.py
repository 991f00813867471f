"""What a run or a golden was made with: the platform and the versions of libraries."""

from __future__ import annotations

import os
import platform
from importlib import metadata

# fmt: off
LIBRARIES = (
    "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tract", "torch",
    "tensorflow", "tensorflow-cpu", "keras",
)
# fmt: on
VERSIONS = {"keras": ("keras", "tensorflow-cpu", "tensorflow"), "torch": ("torch",)}


def machine() -> dict[str, str | int]:
    """Return the platform and the versions of the installed libraries, by name."""
    found: dict[str, str | int] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count() or 0,
    }
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def made_with(framework: str) -> dict[str, str]:
    """Return the platform and the versions that a golden of ``framework`` is made with, by name."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    found["machine"] = platform.machine()
    for name in ("numpy", *VERSIONS.get(framework, ())):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
