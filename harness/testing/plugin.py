"""The pytest plugin by a name within the package: ``-p harness.testing.plugin``."""

pytest_plugins = ["pytest_onnx_sequence_harness"]
