"""OpenVINO on the CPU, in full precision and in the one that it chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from typing import Any

import numpy as np

from harness.core import install
from harness.core.errors import LoadError, RunError, clipped
from harness.core.loader import Loader
from harness.core.schema import Array, Arrays
from harness.core.tolerance import Row
from harness.graphs import walk
from harness.runtimes.settings import Settings

DEVICE = "CPU"
FULL = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
"""Without them OpenVINO computes in bfloat16 or float16 on a processor that is faster at it."""
_PRECISION, _MODE, _THREADS = (
    "INFERENCE_PRECISION_HINT",
    "EXECUTION_MODE_HINT",
    "INFERENCE_NUM_THREADS",
)


def shortened(error: BaseException) -> str:
    """OpenVINO's message without the lines that say where in its source it arose, as one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith("Exception from ")]
    text = " ".join(kept) or type(error).__name__
    return clipped(text)


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
        if set(inputs) != set(self._inputs):
            raise RunError(
                f"inputs given: {', '.join(sorted(inputs)) or 'none'}; "
                f"the model takes: {', '.join(sorted(self._inputs)) or 'none'}"
            )
        used = {port: inputs[name] for name, port in self._ports.items()}
        for name, port in self._ports.items():
            given, expected = inputs[name].dtype, port.element_type.to_dtype()
            if given != expected:
                raise RunError(f"input {name}: {given} given, {expected} expected")
        try:
            values = self._request.infer(used)
        except Exception as error:
            raise RunError(shortened(error)) from error
        return [(name, np.asarray(values[port])) for name, port in self._outputs]

    def evidence(self) -> dict[str, Any]:
        """As ONNX Runtime's, of the nodes that OpenVINO made; ``precisions`` counts theirs."""
        nodes = [node.get_rt_info() for node in self._compiled.get_runtime_model().get_ops()]
        ops = Counter(str(info["layerType"].astype(str)) for info in nodes)
        precisions = Counter(str(info["runtimePrecision"].astype(str)) for info in nodes)
        precision = self._compiled.get_property(_PRECISION)
        return {
            "providers": list(self._compiled.get_property("EXECUTION_DEVICES")),
            "nodes_by_provider": {DEVICE: dict(sorted(ops.items()))},
            "tf32": False,
            "optimization": "all",
            "inference_precision": precision.get_type_name(),
            "execution_mode": str(self._compiled.get_property(_MODE)).rpartition(".")[2].lower(),
            "precisions": dict(sorted(precisions.items())),
            "threads": self._compiled.get_property(_THREADS),
            "version": distribution_version("openvino"),
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
        """Return what runs a model with the same properties without the harness."""
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
        """The version of the installed distribution; empty where there is none."""
        try:
            return distribution_version("openvino")
        except PackageNotFoundError:
            return ""

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
    FULL, Row(4.0, "float32 asked for, and accurate Sigmoid and Tanh: at worst 2.0")
)
DEFAULT_PRECISION = OpenVinoRuntime(
    {}, Row(4.0, "as openvino: what it computes in bfloat16 does not conform"), "openvino"
)
