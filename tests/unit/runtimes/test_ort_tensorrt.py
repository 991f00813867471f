"""harness.runtimes.ort_tensorrt without a GPU: what is missing, and the judgement of placements."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.core.errors import LoadError, RunError
from harness.runtimes import ort, ort_tensorrt
from harness.runtimes.ort_tensorrt import TENSORRT, TENSORRT_PROVIDER, TensorRtSession
from tests.support import small_graphs


@pytest.fixture
def cuda(monkeypatch):
    """A machine on which CUDA works and ``onnxruntime`` lists ``providers``."""
    onnxruntime = pytest.importorskip("onnxruntime")

    def here(*providers):
        monkeypatch.setattr(ort.OrtRuntime, "check", lambda self: None)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(providers))

    return here


def test_without_cuda_there_is_no_tensorrt(monkeypatch):
    monkeypatch.setattr(ort.OrtRuntime, "check", lambda self: f"no {self.provider} here")
    assert TENSORRT.check() == "no CUDAExecutionProvider here"


def test_a_build_without_the_provider_is_told(cuda):
    cuda("CUDAExecutionProvider")
    assert TENSORRT.check().endswith(f"is built without {TENSORRT_PROVIDER}")


def test_missing_libraries_and_the_wheel_that_has_them_are_told(cuda, monkeypatch):
    cuda(TENSORRT_PROVIDER)
    monkeypatch.setattr(ort_tensorrt, "LIBRARIES", ("libnosuch.so.10", "libc.so.6"))
    reason = ort_tensorrt.missing_libraries("13.0")
    assert reason == "libnosuch.so.10 cannot be loaded: pip install 'tensorrt-cu13<11'"
    monkeypatch.setattr(ort_tensorrt, "LIBRARIES", ("libc.so.6",))
    assert ort_tensorrt.missing_libraries("13.0") is TENSORRT.check() is None


def test_libraries_are_found_in_their_wheel(tmp_path, monkeypatch):
    maps = Path("/proc/self/maps").read_text().splitlines()
    source = next(line.split()[-1] for line in maps if "libc.so.6" in line)
    (tmp_path / "libinwheel.so.10").symlink_to(source)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(ort_tensorrt, "LIBRARIES", ("libinwheel.so.10",))
    assert ort_tensorrt.missing_libraries("12.8") is not None
    monkeypatch.setattr(ort_tensorrt, "find_spec", lambda name: spec)
    assert ort_tensorrt.missing_libraries("12.8") is None


def test_a_session_that_fell_back_is_a_load_error(tmp_path):
    with pytest.raises(LoadError, match=r"fell back to|TensorRT"):
        TENSORRT.prepare(small_graphs.mixed(tmp_path / "m.onnx"))


def test_a_node_left_to_cuda_fails_the_run():
    nodes = [("LSTM", "CUDAExecutionProvider"), ("MatMul", TENSORRT_PROVIDER)]
    parts = [
        SimpleNamespace(
            ep_name=provider, get_nodes=lambda op=op: [SimpleNamespace(op_type=op, name="n")]
        )
        for op, provider in nodes
    ]
    fake = SimpleNamespace(
        get_inputs=list,
        get_outputs=list,
        run=lambda names, inputs: [],
        get_provider_graph_assignment_info=lambda: parts,
        get_providers=lambda: [TENSORRT_PROVIDER],
        get_provider_options=dict,
    )
    session = TensorRtSession(fake, TENSORRT_PROVIDER, "1")
    reason = f"1 of 2 nodes not on {TENSORRT_PROVIDER}: LSTM 'n' on CUDAExecutionProvider$"
    with pytest.raises(RunError, match=reason):
        session.run({})
    assert session.evidence()["tf32"] is True
