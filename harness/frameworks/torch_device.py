"""A PyTorch twin on a device, in full float32."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from harness.core.errors import LoadError
from harness.core.schema import Arrays, ModelSpec
from harness.frameworks import torch_twin as adapter


class TorchOnDevice:
    """A twin on the CPU or on the first CUDA device; LoadError where there is none."""

    def __init__(
        self, twin: ModuleType, spec: ModelSpec, parameters: Arrays, cuda: bool = False
    ) -> None:
        if cuda and not torch.cuda.is_available():
            raise LoadError(f"PyTorch {torch.__version__} finds no CUDA device")
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        self._spec = spec
        self._module = adapter.build(twin, spec, parameters).to("cuda" if cuda else "cpu")
        self.device = f"PyTorch on {torch.cuda.get_device_name() if cuda else 'CPU'}"

    def run(self, inputs: Arrays) -> Arrays:
        """Return the outputs by name."""
        return adapter.run(self._module, self._spec, inputs)

    def evidence(self) -> dict[str, Any]:
        """Return settings for a report: nothing is compiled."""
        return {"optimization": "none", "threads": torch.get_num_threads()}


on_device = TorchOnDevice
