"""A Keras twin on a device, in full float32."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import tensorflow as tf

from harness.core.errors import LoadError
from harness.core.schema import Arrays, ModelSpec
from harness.frameworks import keras_twin as adapter


class KerasOnDevice:
    """A twin on the CPU or on the first CUDA device; LoadError where there is none.

    TensorFlow places a model on a device that it sees, so for the CPU none may be visible.
    """

    def __init__(
        self, twin: ModuleType, spec: ModelSpec, parameters: Arrays, cuda: bool = False
    ) -> None:
        devices = tf.config.list_physical_devices("GPU")
        if cuda and not devices:
            raise LoadError(f"TensorFlow {tf.__version__} finds no CUDA device")
        if not cuda and devices:
            raise LoadError("TensorFlow sees a CUDA device and would use it")
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._spec = spec
        self._model = adapter.build(twin, spec, parameters)
        adapter.forward(self._model, spec)
        details = tf.config.experimental.get_device_details(devices[0]) if cuda else {}
        self.device = f"TensorFlow on {details.get('device_name', 'CUDA') if cuda else 'CPU'}"

    def run(self, inputs: Arrays) -> Arrays:
        """Return the outputs by name, of the model as one TensorFlow function."""
        return adapter.run(self._model, self._spec, inputs)

    def evidence(self) -> dict[str, Any]:
        """Return settings for a report; Grappler's are TensorFlow's defaults."""
        threads = tf.config.threading.get_intra_op_parallelism_threads()
        version = tf.__version__
        return {"optimization": "all", "threads": threads, "tensorflow": version}


on_device = KerasOnDevice
