"""Measure the errors of runtimes' operators beyond rounding, for ``harness.core.operator_errors``.

Usage: python ci/operator_errors.py [RUNTIME ...]. For every operator that has an error of more than
8 ulps of its own result, prints the largest such error.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import onnx

from harness import runtimes
from harness.core.errors import StageError
from harness.core.temporary import temporary_folder
from harness.oracle.runtime import ORACLE

OPERATORS = (
    *("Sigmoid", "Tanh", "Exp", "Erf", "Gelu", "Softplus", "Log", "HardSigmoid", "Sqrt", "Elu"),
    *("Sin", "Cos", "Mish", "Selu", "Celu", "Softsign", "HardSwish", "Reciprocal"),
)
POSITIVE = ("Log", "Sqrt", "Reciprocal")
GRAPH = """<ir_version: 9, opset_import: ["" : 20]>
g (float[batch, 512] x) => (float[batch, 512] y) {{ y = {operator}(x) }}"""
BEYOND = 8


def main(names: list[str]) -> int:
    x = np.random.default_rng(0).uniform(-40, 20, (256, 512)).astype(np.float32)
    for name in names or ("ort-cpu", "openvino", "tract", "onnx-reference"):
        runtime = runtimes.load(name)
        if reason := runtime.check():
            print(f"{name}: {reason}")
            continue
        for operator in OPERATORS:
            values = np.abs(x) + np.float32(1e-6) if operator in POSITIVE else x
            if operator == "Exp":
                values = np.minimum(x, 5)
            try:
                error = beyond(runtime, operator, values)
            except StageError as raised:
                print(f"{name} {operator}: {raised}")
                continue
            if error:
                print(f"{name} {operator}: {error:.2g}")
    return 0


def beyond(runtime: runtimes.GuardedRuntime, operator: str, x: np.ndarray) -> float:
    """Return the largest error among those of more than ``BEYOND`` ulps of the result."""
    with temporary_folder() as folder:
        path = folder / "operator.onnx"
        onnx.save(onnx.parser.parse_model(GRAPH.format(operator=operator)), path)
        ((_, actual),) = runtime.prepare(str(path)).run({"x": x})
        ((_, exact),) = ORACLE.prepare(str(path)).run({"x": x})
    error = np.abs(actual - exact)
    return float(
        error[error > BEYOND * np.spacing(np.abs(exact).astype(np.float32))].max(initial=0)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
