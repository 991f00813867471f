"""harness.runtimes.ort: running, errors, evidence, and the judgement of placements."""

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx import helper as oh

from harness.core.errors import LoadError, RunError
from harness.graphs.recurrent import RECURRENT
from harness.placing.verdict import CPU_PROVIDER, CUDA_PROVIDER, Placement, misplaced
from harness.runtimes import ort
from harness.runtimes.ort import CPU, CUDA


def save(path: Path, op: str = "Add", output: Any = ("batch", 3)) -> str:
    """x, y [batch, 3] to sum = op(x, y) and x squared, in that order."""
    graph = oh.make_graph(
        [
            oh.make_node(op, ["x", "y"], ["sum"], name="first"),
            oh.make_node("Mul", ["x", "x"], ["a"]),
        ],
        "g",
        [oh.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in "xy"],
        [
            oh.make_tensor_value_info("sum", TensorProto.FLOAT, output),
            oh.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 3]),
        ],
    )
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return str(path)


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_outputs_come_in_graph_order_under_their_names(tmp_path: Path) -> None:
    session = CPU.prepare(save(tmp_path / "m.onnx"))
    outputs = session.run({"y": X + 1, "x": X})
    assert [name for name, _ in outputs] == ["sum", "a"]
    np.testing.assert_array_equal(outputs[0][1], 2 * X + 1)
    np.testing.assert_array_equal(outputs[1][1], X * X)


def test_evidence_counts_every_node_where_it_was_placed(tmp_path: Path) -> None:
    session = CPU.prepare(save(tmp_path / "m.onnx"))
    session.run({"x": X, "y": X})
    evidence = session.evidence()
    assert evidence["providers"] == [CPU_PROVIDER]
    assert evidence["nodes_by_provider"] == {CPU_PROVIDER: {"Add": 1, "Mul": 1}}
    assert evidence["tf32"] is False
    assert evidence["optimization"] == "all"
    assert evidence["version"] == CPU.version() != ""


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": X}, "inputs given: x; the model takes: x, y"),
        ({"x": X, "y": X, "z": X}, "inputs given: x, y, z; the model takes: x, y"),
        (
            {"x": X[:, :2], "y": X},
            "Got invalid dimensions for input: x for the following indices "
            "index: 1 Got: 2 Expected: 3",
        ),
        ({"x": X.astype(float), "y": X}, "Unexpected input data type."),
    ],
)
def test_inputs_that_do_not_fit_are_told_in_one_line(
    tmp_path: Path, inputs: dict[str, Any], message: str
) -> None:
    session = CPU.prepare(save(tmp_path / "m.onnx"))
    with pytest.raises(RunError) as caught:
        session.run(inputs)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_node_that_fails_is_named_without_source_paths(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", "Reshape")
    model = onnx.load(path)
    model.graph.input[1].CopyFrom(oh.make_tensor_value_info("y", TensorProto.INT64, [2]))
    onnx.save(model, path)
    with pytest.raises(RunError) as caught:
        CPU.prepare(path).run({"x": X, "y": np.array([4, 4])})
    message = str(caught.value)
    assert message.startswith("Reshape node 'first':")
    assert "requested shape:{4,4}" in message
    assert "onnxruntime" not in message


@pytest.mark.parametrize(
    ("op", "message"), [("Ad", "No Op registered for Ad"), (None, "Protobuf parsing failed")]
)
def test_a_model_that_does_not_load_is_told_in_one_line(
    tmp_path: Path, op: str | None, message: str
) -> None:
    path = tmp_path / "m.onnx"
    if op:
        save(path, op)
    else:
        path.write_bytes(b"junkjunk")
    with pytest.raises(LoadError) as caught:
        CPU.prepare(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)


def on(provider: str, *ops: str) -> list[Placement]:
    return [Placement(provider, op, f"{op.lower()}_{i}") for i, op in enumerate(ops)]


def test_shape_arithmetic_may_stay_on_the_cpu() -> None:
    placements = on(CUDA_PROVIDER, "LSTM", "MatMul") + on(CPU_PROVIDER, "Shape", "Gather", "Concat")
    sizes = {(p.op_type, p.node): True for p in placements[2:]}
    assert misplaced(placements, sizes) == ""
    sizes["Gather", "gather_1"] = False
    assert misplaced(placements, sizes) == (
        f"1 of 5 nodes not on {CUDA_PROVIDER}: Gather 'gather_1' on {CPU_PROVIDER}"
    )


@pytest.mark.parametrize("op", sorted(RECURRENT))
def test_a_recurrent_node_on_the_cpu_is_told_first(op: str) -> None:
    reason = misplaced(on(CUDA_PROVIDER, "MatMul") + on(CPU_PROVIDER, "Softmax", op), {})
    assert reason == (
        f"2 of 3 nodes not on {CUDA_PROVIDER}: {op} '{op.lower()}_1' on {CPU_PROVIDER}, "
        f"Softmax 'softmax_0' on {CPU_PROVIDER}"
    )


def test_many_misplaced_nodes_still_make_one_short_line() -> None:
    reason = misplaced(on(CUDA_PROVIDER, "Gemm") + on(CPU_PROVIDER, *["MatMul"] * 9), {})
    assert reason.endswith("and 5 more")


@pytest.mark.parametrize("placements", [[], on(CPU_PROVIDER, "Shape")])
def test_a_session_with_nothing_on_cuda_is_misplaced(placements: list[Placement]) -> None:
    sizes = {("Shape", "shape_0"): True}
    assert "is on CUDAExecutionProvider" in misplaced(placements, sizes)


class Planted:
    """A stand-in for an InferenceSession whose nodes lie where the test puts them."""

    def __init__(self, placements: list[Placement]) -> None:
        self.placements = placements

    def get_inputs(self) -> list[Any]:
        return []

    get_outputs = get_inputs

    def run(self, *_: Any) -> list[Any]:
        return []

    def get_provider_graph_assignment_info(self) -> list[Any]:
        def part(p: Placement) -> Any:
            node = type("Node", (), {"op_type": p.op_type, "name": p.node})
            return type("Part", (), {"ep_name": p.provider, "get_nodes": lambda self: [node]})()

        return [part(p) for p in self.placements]


def test_a_planted_fallback_fails_the_first_run() -> None:
    planted = Planted(on(CUDA_PROVIDER, "MatMul") + on(CPU_PROVIDER, "LSTM"))
    with pytest.raises(RunError, match=r"1 of 2 nodes not on CUDA.*: LSTM 'lstm_0' on CPU"):
        ort.OrtSession(planted, CUDA_PROVIDER, "0").run({})
    planted.placements = on(CUDA_PROVIDER, "MatMul", "LSTM")
    assert ort.OrtSession(planted, CUDA_PROVIDER, "0").run({}) == []


def test_data_that_a_session_computes_on_the_cpu_fails_the_first_run(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", "Max")
    planted = Planted([*on(CUDA_PROVIDER, "Mul"), Placement(CPU_PROVIDER, "Max", "first")])
    with pytest.raises(RunError, match=r"1 of 2 nodes not on CUDA.*: Max 'first' on CPU"):
        ort.OrtSession(planted, CUDA_PROVIDER, "0", path=path).run({})
    model = onnx.load(path)
    model.graph.node.insert(0, oh.make_node("Shape", ["x"], ["size"]))
    model.graph.node[1].input[:] = ["size", "size"]
    onnx.save(model, path)
    assert ort.OrtSession(planted, CUDA_PROVIDER, "0", path=path).run({}) == []


def test_a_session_that_silently_fell_back_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, **_: real(path, options, providers=[CPU_PROVIDER]),
    )
    with pytest.raises(LoadError, match=r"CUDAExecutionProvider was asked for.*CPUExecution"):
        CUDA.prepare(save(tmp_path / "m.onnx"))


class Driver:
    """A stand-in for libcuda."""

    def __init__(self, init: int, devices: int) -> None:
        self.init, self.devices = init, devices

    def cuInit(self, _: int) -> int:  # noqa: N802
        return self.init

    def cuDeviceGetCount(self, number: Any) -> int:  # noqa: N802
        number._obj.value = self.devices
        return 0


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (None, "no CUDA device: the NVIDIA driver (libcuda.so.1) is not installed"),
        (Driver(100, 0), "no CUDA device: the NVIDIA driver does not start (cuInit gives 100)"),
        (Driver(0, 0), "no CUDA device: the NVIDIA driver reports none"),
        (Driver(0, 1), None),
    ],
)
def test_why_there_is_no_device(
    monkeypatch: pytest.MonkeyPatch, driver: Driver | None, reason: str | None
) -> None:
    def load(name: str) -> Driver:
        assert name == "libcuda.so.1"
        if driver is None:
            raise OSError(name)
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert ort.no_cuda_device() == reason


def test_two_distributions_clash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "no_cuda_device", lambda: None)
    both = {"onnxruntime": "1.31.0", "onnxruntime-gpu": "1.31.0"}
    monkeypatch.setattr(ort, "installed", lambda names: both)
    reason = CUDA.check()
    assert reason is not None
    assert reason.startswith("onnxruntime and onnxruntime-gpu are both installed")


def test_a_build_without_cuda_tells_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(ort, "no_cuda_device", lambda: None)
    monkeypatch.setattr(ort, "installed", lambda names: {"onnxruntime": "1.31.0"})
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU_PROVIDER])
    reason = CUDA.check()
    assert reason is not None
    assert "is built without CUDAExecutionProvider" in reason
    assert ort.INSTALL_CUDA in reason


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ort.missing_libraries(["libc.so.6"]) is None
    reason = ort.missing_libraries(["libc.so.6", "libnone.so.9"])
    assert reason == f"libnone.so.9 cannot be loaded: {ort.INSTALL_CUDA}"
    assert "libcudart.so.13" in ort.cuda_libraries("13.0")
    assert "libcudnn.so.9" in ort.cuda_libraries("12.8")


def test_a_version_that_cannot_tell_placements_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert CPU.check() is None
    monkeypatch.setattr(ort, "installed", lambda names: {"onnxruntime": "1.23.2"})
    assert CPU.check() == (
        "onnxruntime 1.23.2 cannot tell where a node runs: pip install 'onnxruntime>=1.24.1'"
    )


def test_importing_the_module_and_looking_for_cuda_import_no_runtime() -> None:
    code = (
        "import sys; from harness.runtimes import ort; ort.no_cuda_device(); ort.CPU.check(); "
        "sys.exit('onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
