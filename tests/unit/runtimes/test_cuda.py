"""harness.runtimes.cuda, with what stands in for NVIDIA's libraries."""

import ctypes
from types import SimpleNamespace

import pytest

from harness.placing.verdict import CPU_PROVIDER, CUDA_PROVIDER
from harness.runtimes import cuda, ort
from harness.runtimes.ort import OrtSession
from harness.runtimes.ort_tensorrt import TENSORRT_PROVIDER

H200 = {
    "name": "NVIDIA H200",
    "memory": 2**37,
    "compute_capability": "9.0",
    "driver_cuda": "13.1",
    "cuda": "12.8",
    "cudnn": 91002,
    "cuda_build": "12.9",
}
NOTHING = {**dict.fromkeys(H200), "cuda_build": "12.9"}
DEVICE = ("name", "memory", "compute_capability")


class Driver:
    """NVIDIA's driver with two devices, of which the second is asked for."""

    def __init__(self, **codes):
        self.codes = codes

    def __getattr__(self, function):
        def call(*arguments):
            written = {
                "cuDeviceGet": lambda: {1: 7}[arguments[1]],
                "cuDeviceGetName": lambda: {7: b"NVIDIA H200"}[arguments[2]],
                "cuDeviceTotalMem_v2": lambda: {7: 2**37}[arguments[1]],
                "cuDriverGetVersion": lambda: 13010,
                "cuDeviceGetAttribute": lambda: {(75, 7): 9, (76, 7): 0}[arguments[1:]],
            }.get(function)
            if written and not self.codes.get(function):
                getattr(arguments[0], "_obj", arguments[0]).value = written()
            return self.codes.get(function, 0)

        return call


def runtime(number):
    """The CUDA runtime."""

    def call(pointer):
        pointer._obj.value = number
        return 0

    return SimpleNamespace(cudaRuntimeGetVersion=call)


@pytest.fixture
def loaded(monkeypatch):
    """The libraries that can be loaded, by name: all three, until a test takes one away."""
    libraries = {
        "libcuda.so.1": Driver(),
        "libcudart.so.12": runtime(12080),
        "libcudnn.so.9": SimpleNamespace(cudnnGetVersion=lambda: 91002),
    }

    def load(name):
        if name not in libraries:
            raise OSError(name)
        return libraries[name]

    monkeypatch.setattr(ctypes, "CDLL", load)
    return libraries


def test_all_is_as_the_libraries_say(loaded):
    assert cuda.about("12.9", 1) == H200


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("libcuda.so.1", (*DEVICE, "driver_cuda")),
        ("libcudart.so.12", ("cuda",)),
        ("libcudnn.so.9", ("cudnn",)),
    ],
)
@pytest.mark.parametrize("instead", [None, SimpleNamespace()])
def test_what_a_missing_library_or_function_would_tell_is_none(loaded, name, lost, instead):
    del loaded[name]
    if instead is not None:
        loaded[name] = instead
    assert cuda.about("12.9", 1) == {**H200, **dict.fromkeys(lost)}


@pytest.mark.parametrize(
    ("function", "lost"),
    [
        ("cuInit", DEVICE),
        ("cuDeviceGet", DEVICE),
        ("cuDeviceGetName", ("name",)),
        ("cuDeviceTotalMem_v2", ("memory",)),
        ("cuDeviceGetAttribute", ("compute_capability",)),
        ("cuDriverGetVersion", ("driver_cuda",)),
    ],
)
def test_what_the_driver_refuses_is_none(loaded, function, lost):
    loaded["libcuda.so.1"] = Driver(**{function: 100})
    assert cuda.about("12.9", 1) == {**H200, **dict.fromkeys(lost)}


def test_without_libraries_nothing_is_known(loaded):
    loaded.clear()
    assert cuda.about("12.9", 1) == NOTHING
    assert cuda.about("") == {**NOTHING, "cuda_build": None}


@pytest.mark.parametrize("provider", [CUDA_PROVIDER, TENSORRT_PROVIDER, CPU_PROVIDER])
def test_a_session_off_the_cpu_tells_its_device(monkeypatch, provider):
    import onnxruntime

    calls = []
    monkeypatch.setattr(ort.cuda, "about", lambda *arguments: calls.append(arguments) or H200)
    monkeypatch.setattr(onnxruntime, "cuda_version", "12.9", raising=False)
    planted = SimpleNamespace(
        get_inputs=list,
        get_outputs=list,
        get_providers=list,
        get_provider_graph_assignment_info=list,
        get_provider_options=lambda: {CUDA_PROVIDER: {"device_id": "1"}},
    )
    evidence = OrtSession(planted, provider, "1.31.0").evidence()
    if provider == CPU_PROVIDER:
        assert "device" not in evidence
    else:
        assert (evidence["device"], calls) == (H200, [("12.9", 1)])
