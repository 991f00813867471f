"""The GPU and NVIDIA's libraries: whether they are here, and their versions."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

INSTALL_CUDA = 'pip install "onnxruntime-gpu[cuda,cudnn]"'
_NAME_LENGTH = 256
_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""


def about(cuda_build: str, ordinal: int = 0) -> dict[str, Any]:
    """Return the CUDA device number ``ordinal`` and the libraries; each None where unknown.

    ``name`` of the GPU, its ``memory`` in bytes and its ``compute_capability``; ``driver_cuda``,
    the newest CUDA that the driver has; ``cuda``, the version of the CUDA runtime, and ``cudnn``,
    such as 91002; ``cuda_build``, the CUDA that ONNX Runtime is built for, such as 13.0.
    """
    driver = _library("libcuda.so.1")
    runtime = _library(f"libcudart.so.{cuda_build.partition('.')[0]}")
    return {
        **_device(driver, ordinal),
        "driver_cuda": _version(_written(driver, "cuDriverGetVersion")),
        "cuda": _version(_written(runtime, "cudaRuntimeGetVersion")),
        "cudnn": _cudnn(),
        "cuda_build": cuda_build or None,
    }


def no_cuda_device() -> str | None:
    """Return why there is no CUDA device here; None where the driver reports one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no CUDA device: the NVIDIA driver (libcuda.so.1) is not installed"
    if code := driver.cuInit(0):
        return f"no CUDA device: the NVIDIA driver does not start (cuInit gives {code})"
    number = ctypes.c_int(0)
    code = driver.cuDeviceGetCount(ctypes.byref(number))
    return None if not code and number.value else "no CUDA device: the NVIDIA driver reports none"


def cuda_libraries(cuda_version: str) -> tuple[str, ...]:
    """Return the shared libraries that ONNX Runtime's CUDA provider needs at a CUDA version."""
    major = cuda_version.partition(".")[0]
    versioned = tuple(f"lib{name}.so.{major}" for name in ("cudart", "cublas", "cublasLt"))
    fft = ("libcufft.so.11",) if major == "12" else ()
    return (*versioned, *fft, "libcurand.so.10", "libcudnn.so.9")


def missing_libraries(names: Iterable[str]) -> str | None:
    """Return which shared libraries cannot be loaded and how to install them, or None."""
    missing = []
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            missing.append(name)
    return f"{', '.join(missing)} cannot be loaded: {INSTALL_CUDA}" if missing else None


def _device(driver: Any, ordinal: int) -> dict[str, Any]:
    """Return name, memory and compute capability of a device, by NVIDIA's driver."""
    facts: dict[str, Any] = dict.fromkeys(("name", "memory", "compute_capability"))
    handle = _written(driver, "cuDeviceGet", ordinal) if _succeeds(driver, "cuInit", 0) else None
    if handle is None:
        return facts
    name = ctypes.create_string_buffer(_NAME_LENGTH)
    if _succeeds(driver, "cuDeviceGetName", name, _NAME_LENGTH, handle):
        facts["name"] = name.value.decode(errors="replace")
    facts["memory"] = _written(driver, "cuDeviceTotalMem_v2", handle, kind=ctypes.c_size_t)
    major, minor = (_written(driver, "cuDeviceGetAttribute", a, handle) for a in (_MAJOR, _MINOR))
    if None not in (major, minor):
        facts["compute_capability"] = f"{major}.{minor}"
    return facts


def _cudnn() -> int | None:
    version = getattr(_library("libcudnn.so.9"), "cudnnGetVersion", None)
    return None if version is None else int(version())


def _library(name: str) -> Any:
    """Return a shared library, such as ONNX Runtime has loaded; None where there is none."""
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _succeeds(library: Any, function: str, *arguments: Any) -> bool:
    """Return whether there is such a function and it returns no error."""
    call = getattr(library, function, None)
    return call is not None and not call(*arguments)


def _written(library: Any, function: str, *arguments: int, kind: Any = ctypes.c_int) -> int | None:
    """Return what a function writes to its first argument; None where it returns an error."""
    value = kind(0)
    return (
        int(value.value) if _succeeds(library, function, ctypes.byref(value), *arguments) else None
    )


def _version(number: int | None) -> str | None:
    """Return CUDA's 12080 as 12.8."""
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"
