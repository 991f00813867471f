"""ONNX Runtime with its TensorRT provider, and CUDA for what TensorRT refuses."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.core.loader import Loader
from harness.core.tolerance import Row
from harness.placing.verdict import CPU_PROVIDER, CUDA_PROVIDER
from harness.runtimes import ort
from harness.runtimes.ort import CUDA, OrtSession
from harness.runtimes.settings import Settings

TENSORRT_PROVIDER = "TensorrtExecutionProvider"
LIBRARIES = ("libnvinfer.so.10", "libnvonnxparser.so.10")


class TensorRtSession(OrtSession):
    """Fails to run where a node that is not shape arithmetic lies outside TensorRT."""

    def evidence(self) -> dict[str, Any]:
        """Return any session's evidence; the provider has no option against TF32."""
        return {**super().evidence(), "tf32": True}


class TensorRtRuntime:
    """In full precision but for TF32; engines are built anew for shapes out of their range."""

    distributions = ort.DISTRIBUTIONS
    row = Row(4.0 * ort.TF32, "TensorRT uses TF32, whatever is asked; not measured on a device")

    def loader(self, settings: Settings) -> Loader:
        """Return the code that runs a model with this provider."""
        return ort.loader(TENSORRT_PROVIDER, settings.provider, settings)

    def check(self) -> str | None:
        """Return None where CUDA, the provider and the libraries of TensorRT are there."""
        if reason := CUDA.check():
            return reason
        import onnxruntime

        if TENSORRT_PROVIDER not in onnxruntime.get_available_providers():
            return f"onnxruntime {onnxruntime.__version__} is built without {TENSORRT_PROVIDER}"
        return missing_libraries(onnxruntime.cuda_version)

    def version(self) -> str:
        return CUDA.version()

    def prepare(self, path: str) -> TensorRtSession:
        """Load a model file; LoadError where it is refused or the provider is left out."""
        import onnxruntime

        options = ort.silent_options(onnxruntime)
        providers = [TENSORRT_PROVIDER, (CUDA_PROVIDER, {"use_tf32": "0"}), CPU_PROVIDER]
        session = ort.opened(onnxruntime, path, options, providers, TENSORRT_PROVIDER)
        version = onnxruntime.__version__
        return TensorRtSession(session, TENSORRT_PROVIDER, version, ort.DEFAULTS, path)


def missing_libraries(cuda_version: str) -> str | None:
    """Load TensorRT's libraries, from their wheel too; return which cannot be, or None."""
    wheel = find_spec("tensorrt_libs")
    folders = wheel.submodule_search_locations or () if wheel else ()
    missing = [name for name in LIBRARIES if not _loads(name, *(Path(f, name) for f in folders))]
    major = cuda_version.partition(".")[0]
    install = f"pip install 'tensorrt-cu{major}<11'"
    return f"{', '.join(missing)} cannot be loaded: {install}" if missing else None


def _loads(*places: str | Path) -> bool:
    for place in places:
        try:
            ctypes.CDLL(str(place), ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return True
    return False


TENSORRT = TensorRtRuntime()
