"""Twins as runtimes, inside the process that ``harness.runtimes.frameworks`` starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.core.environment import version_of
from harness.core.errors import LoadError, RunError, check_input_names, one_line
from harness.core.registry import resolve
from harness.core.schema import Array, Arrays, ModelSpec
from harness.goldens import store
from reference_models import catalog


class TwinSession:
    """A twin with trained weights."""

    def __init__(self, framework: str, spec: ModelSpec, twin: Any) -> None:
        self._framework = framework
        self._spec = spec
        self._twin = twin

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Run one case; the outputs come in the order of the specification."""
        check_input_names(inputs, [tensor.name for tensor in self._spec.inputs], "twin")
        try:
            outputs = self._twin.run(inputs)
        except Exception as error:
            raise RunError(one_line(error)) from error
        return [(tensor.name, outputs[tensor.name]) for tensor in self._spec.outputs]

    def evidence(self) -> dict[str, Any]:
        """Return evidence as ONNX Runtime's; a twin has no ONNX node."""
        return {
            "providers": [self._twin.device],
            "nodes_by_provider": {},
            "tf32": False,
            **self._twin.evidence(),
            "version": version_of(self._framework),
        }


class TwinRuntime:
    """The twins of one framework, on the CPU or on CUDA."""

    def __init__(self, framework: str, cuda: bool = False) -> None:
        self.framework = framework
        self.cuda = cuda

    def check(self) -> str | None:
        return None

    def version(self) -> str:
        return version_of(self.framework)

    def prepare(self, path: str) -> TwinSession:
        """Build the twin of the golden in a folder; GoldenError or LoadError if there is none."""
        source = store.read(Path(path))
        if source.framework != self.framework:
            raise LoadError(f"{path} is a golden of {source.framework}, not of {self.framework}")
        catalog.check_spec(source.spec, source.folder)
        parameters = source.parameters()
        adapter = resolve(f"harness.frameworks.{self.framework}_device")
        twin = catalog.part(source.spec, f"{self.framework}_twin")
        placed = adapter.on_device(twin, source.spec, parameters, self.cuda)
        return TwinSession(self.framework, source.spec, placed)


KERAS_CPU, KERAS_CUDA = TwinRuntime("keras"), TwinRuntime("keras", cuda=True)
TORCH_CPU, TORCH_CUDA = TwinRuntime("torch"), TwinRuntime("torch", cuda=True)
