"""Stand for the process in which ONNX Runtime partitions models."""

import os
import sys


def answers(emit, shim_path, models):
    """Tell where the node of each model goes; one whose name says so ends the process."""
    emit({"onnxruntime": "1.2", "cuda": "12.8"})
    for model in models:
        if "dies" in model:
            os.abort()
        emit({"nodes": [["P", "Op", os.path.basename(model)]]})


def never_starts(emit, shim_path, models):
    print("ImportError: x", file=sys.stderr)
    os._exit(1)
