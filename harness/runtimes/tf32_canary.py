"""Proof that a runtime's TF32 switch works: models whose right output TF32 cannot give.

float32 has 23 bits of mantissa, TF32 10: ``a * (1 + 2**-12)`` is exact in float32 and ``a`` in
TF32, whether it rounds or cuts. A product of ``a * (1 + 2**-12), a`` with ``b, -b`` is therefore
``a * b * 2**-12`` in float32, whatever the order of its sums, and 0 in TF32. Here it is 32 or more
for every pair: a recurrent cell's gates are then 0 or 1 and its candidate 1, to the last bit but
for the rounding of the functions, or its candidate is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.core.errors import StageError
from harness.core.schema import Array, Arrays, Runtime
from harness.core.temporary import temporary_folder

SIZE = 64
"""Rows, features and units: a multiple of 8, which tensor cores ask for."""
STEPS = 3
OPSET = 18
LOW = np.float32(1 + 2**-12)
HIGH = np.float32(2**17)
OPEN = np.float32(64)
"""A gate's bias: its sigmoid is 1 in float32, that of its negative below 1e-27."""


@dataclass(frozen=True)
class ProductProbe:
    """One model, its inputs, and the values of its first output.

    With TF32 off the largest error may be ``allowed``; with TF32 on it must be ``least`` or more.
    """

    name: str
    model: onnx.ModelProto
    inputs: Arrays
    exact: Array
    allowed: float
    least: float

    def error(self, actual: Array) -> float:
        """Return the largest absolute error: NaN where a value is, infinite for another shape."""
        if actual.shape != self.exact.shape:
            return float("inf")
        return float(np.abs(actual.astype(np.float64) - self.exact).max())

    def verdict(self, off: float, on: float) -> str:
        """Return why the errors show no working switch; empty where they show one."""
        if not off <= self.allowed:
            return f"with TF32 off the error is {off:.3g}, at most {self.allowed:.3g} in float32"
        if not self.least <= on < float("inf"):
            return f"the switch had no effect: with TF32 on the error is {on:.3g}"
        return ""


def probes() -> list[ProductProbe]:
    """Return probes of a matrix product, an LSTM and a GRU."""
    return [_product(), _cell("LSTM"), _cell("GRU")]


def run(off: Runtime, on: Runtime) -> dict[str, Any]:
    """Return both errors and a verdict for each probe, by its name; empty verdicts are good."""
    results: dict[str, dict[str, Any]] = {}
    with temporary_folder() as folder:
        for probe in probes():
            path = folder / f"{probe.name}.onnx"
            onnx.save(probe.model, path)
            try:
                errors = [probe.error(_output(runtime, path, probe)) for runtime in (off, on)]
            except StageError as error:
                results[probe.name] = {"verdict": f"{error.stage}: {error}"}
                continue
            shown = [error if np.isfinite(error) else None for error in errors]
            verdict = probe.verdict(*errors)
            results[probe.name] = {"off": shown[0], "on": shown[1], "verdict": verdict}
    return results


def _output(runtime: Runtime, path: Path, probe: ProductProbe) -> Array:
    return runtime.prepare(str(path)).run(probe.inputs)[0][1]


def _pairs() -> tuple[Array, Array]:
    """Return x and w, both [SIZE, SIZE], with a different product at every place.

    Column ``2 n`` of x is column ``2 n + 1`` times ``LOW``. Rows ``2 n`` and ``2 n + 1`` of w
    differ in their sign alone.
    """
    numbers = np.arange(SIZE * SIZE // 2, dtype=np.float32)
    a, b = 1 + numbers.reshape(SIZE, -1) % 3, HIGH * (1 + numbers.reshape(-1, SIZE) % 2)
    x, w = np.empty((SIZE, SIZE), np.float32), np.empty((SIZE, SIZE), np.float32)
    x[:, 0::2], x[:, 1::2] = a * LOW, a
    w[0::2], w[1::2] = b, -b
    return x, w


def _product() -> ProductProbe:
    x, w = _pairs()
    exact = x.astype(np.float64) @ w.astype(np.float64)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    model = _model(node, ["batch", SIZE], ["batch", SIZE], {"w": w})
    return ProductProbe("MatMul", model, {"x": x}, exact, 0.0, float(exact.min()) / 2)


def _cell(op_type: str) -> ProductProbe:
    """Build a cell that adds (LSTM) or takes (GRU) a candidate of 1 at every step."""
    x, w = _pairs()
    gates = [OPEN, OPEN, OPEN] if op_type == "LSTM" else [-OPEN, OPEN]
    rows = (len(gates) + 1) * SIZE
    constants = {
        "w": np.zeros((1, rows, SIZE), np.float32),
        "r": np.zeros((1, rows, SIZE), np.float32),
        "b": np.zeros((1, 2 * rows), np.float32),
    }
    constants["w"][0, -SIZE:] = w.T
    constants["b"][0, : rows - SIZE] = np.repeat(gates, SIZE)
    outputs = ["", "", "y"] if op_type == "LSTM" else ["", "y"]
    extra: Mapping[str, Any] = {} if op_type == "LSTM" else {"linear_before_reset": 1}
    node = helper.make_node(
        op_type, ["x", *constants], outputs, name="cell", hidden_size=SIZE, **extra
    )
    shape: list[str | int] = [1, "batch", SIZE]
    model = _model(node, ["sequence", "batch", SIZE], shape, constants)
    value = float(STEPS if op_type == "LSTM" else 1)
    exact = np.full((1, SIZE, SIZE), value)
    inputs = {"x": np.repeat(x[None], STEPS, axis=0)}
    return ProductProbe(op_type, model, inputs, exact, value * 2**-18, value / 2)


def _model(
    node: onnx.NodeProto,
    input_shape: Sequence[str | int],
    output_shape: Sequence[str | int],
    constants: Arrays,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "canary",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)
