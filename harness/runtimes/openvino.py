"""OpenVINO on the CPU, in full precision and in the one that it chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core import install
from harness.core.environment import version_of
from harness.core.errors import LoadError, RunError, check_input_names, clipped
from harness.core.loader import Loader
from harness.core.operator_errors import OPENVINO, SLOW_DFT
from harness.core.schema import Array, Arrays
from harness.core.tolerance import Row
from harness.graphs import walk
from harness.runtimes.settings import Settings

DEVICE = "CPU"
FULL = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
"""Without them OpenVINO computes in bfloat16 or float16 on a processor that is faster at it."""


def shortened(error: BaseException) -> str:
    """Return OpenVINO's message as one line, without the lines that name places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith("Exception from ")]
    return clipped(" ".join(kept) or type(error).__name__)


class OpenVinoSession:
    """A compiled model and one request that runs all cases.

    OpenVINO keeps of the graph's ``inputs`` those that something depends on, under any of the names
    that the same value has in the graph.
    """

    def __init__(self, compiled: Any, inputs: list[str], outputs: list[str]) -> None:
        self._compiled = compiled
        self._inputs = inputs
        self._request = compiled.create_infer_request()
        ports = [(name, port) for port in compiled.inputs for name in port.get_names()]
        self._ports = {name: port for name, port in ports if name in inputs}
        if odd := [port.any_name for port in compiled.inputs if not port.get_names() & {*inputs}]:
            raise LoadError(f"OpenVINO takes an input {odd[0]!r} that the graph does not have")
        self._outputs = [(name, compiled.output(name)) for name in outputs]

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Run one case; the outputs keep the graph's order.

        RunError where names or dtypes of the inputs differ, or the run fails.
        """
        check_input_names(inputs, self._inputs)
        used = {port: inputs[name] for name, port in self._ports.items()}
        for name, port in self._ports.items():
            dtype, expected = inputs[name].dtype, port.element_type.to_dtype()
            if dtype != expected:
                raise RunError(f"input {name}: {dtype} given, {expected} expected")
        try:
            values = self._request.infer(used)
        except Exception as error:
            raise RunError(shortened(error)) from error
        return [(name, np.asarray(values[port])) for name, port in self._outputs]

    def evidence(self) -> dict[str, Any]:
        """Return evidence as ONNX Runtime's; nodes and ``precisions`` are of OpenVINO's graph."""
        nodes = [node.get_rt_info() for node in self._compiled.get_runtime_model().get_ops()]
        ops = Counter(str(info["layerType"].astype(str)) for info in nodes)
        precisions = Counter(str(info["runtimePrecision"].astype(str)) for info in nodes)
        precision = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        mode = str(self._compiled.get_property("EXECUTION_MODE_HINT"))
        return {
            "providers": list(self._compiled.get_property("EXECUTION_DEVICES")),
            "nodes_by_provider": {DEVICE: dict(sorted(ops.items()))},
            "tf32": False,
            "optimization": "all",
            "inference_precision": precision.get_type_name(),
            "execution_mode": mode.rpartition(".")[2].lower(),
            "precisions": dict(sorted(precisions.items())),
            "threads": self._compiled.get_property("INFERENCE_NUM_THREADS"),
            "version": version_of("openvino"),
        }


@dataclass(frozen=True)
class OpenVinoRuntime:
    """OpenVINO's CPU plugin with ``properties``; its defaults hold for the others.

    ``precise`` names the runtime that is the same in full precision.
    """

    properties: Mapping[str, str]
    row: Row
    precise: str = ""
    distributions = ("openvino",)

    def loader(self, settings: Settings) -> Loader:
        """Return the code that runs a model with the same properties without the harness."""
        return Loader(
            "openvino",
            "import openvino",
            f"properties = {dict(self.properties)}\n"
            f"session = openvino.compile_model(here / 'model.onnx', {DEVICE!r}, properties)",
            "list(session(inputs).values()), [o.any_name for o in session.outputs]",
        )

    def check(self) -> str | None:
        return None if self.version() else f"openvino is not installed: {install.line('openvino')}"

    def version(self) -> str:
        return version_of("openvino")

    def prepare(self, path: str) -> OpenVinoSession:
        """Read and compile the model file; LoadError where OpenVINO refuses it."""
        import onnx
        import openvino

        try:
            graph = onnx.load(path, load_external_data=False).graph
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(path), DEVICE, dict(self.properties))
            inputs = [value.name for value in walk.inputs(graph)]
            return OpenVinoSession(compiled, inputs, [value.name for value in graph.output])
        except Exception as error:
            raise LoadError(shortened(error)) from error


FULL_PRECISION = OpenVinoRuntime(
    FULL,
    Row(
        4.0,
        "float32 asked for, and accurate Sigmoid and Tanh: at worst 2.0",
        operators=OPENVINO,
        of_largest=SLOW_DFT,
    ),
)
DEFAULT_PRECISION = OpenVinoRuntime(
    {}, Row(4.0, "as openvino: what it computes in bfloat16 does not conform"), "openvino"
)
