"""harness.runtimes.onnx_reference on small graphs."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx import helper as oh

from harness.core.errors import LoadError, RunError
from harness.runtimes.onnx_reference import REFERENCE


def save(path: Path, op: str = "MatMul") -> str:
    graph = oh.make_graph(
        [oh.make_node(op, ["x", "w"], ["y"]), oh.make_node("Neg", ["x"], ["a"])],
        "g",
        [oh.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [
            oh.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2]),
            oh.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 2]),
        ],
        [oh.make_tensor("w", TensorProto.FLOAT, [2, 2], [0, 1, 2, 0])],
    )
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return str(path)


X = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


def test_outputs_come_in_graph_order_in_float32(tmp_path: Path) -> None:
    session = REFERENCE.prepare(save(tmp_path / "m.onnx"))
    outputs = session.run({"x": X})
    assert [name for name, _ in outputs] == ["y", "a"]
    np.testing.assert_array_equal(outputs[0][1], [[4, 1], [8, 3], [12, 5]])
    assert {a.dtype for _, a in outputs} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(session.run({"x": X[:1]})[1][1], -X[:1])


def test_evidence_has_the_keys_of_a_report(tmp_path: Path) -> None:
    evidence = REFERENCE.prepare(save(tmp_path / "m.onnx")).evidence()
    assert evidence == {
        "providers": ["onnx.reference"],
        "nodes_by_provider": {"onnx.reference": {"MatMul": 1, "Neg": 1}},
        "tf32": False,
        "optimization": "none",
        "version": onnx.__version__,
    }
    assert REFERENCE.check() is None
    assert REFERENCE.version() == onnx.__version__


@pytest.mark.parametrize("names", [(), ("x", "z"), ("z",)])
def test_missing_and_extra_inputs_are_errors(tmp_path: Path, names: tuple[str, ...]) -> None:
    session = REFERENCE.prepare(save(tmp_path / "m.onnx"))
    with pytest.raises(RunError, match=r"the model takes: x$"):
        session.run(dict.fromkeys(names, X))


def test_a_node_that_fails_is_a_run_error_in_one_line(tmp_path: Path) -> None:
    session = REFERENCE.prepare(save(tmp_path / "m.onnx"))
    with pytest.raises(RunError, match=r"^\w+: .*") as caught:
        session.run({"x": X[:, :1]})
    assert "\n" not in str(caught.value)


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junkjunk")
    for path in (str(junk), str(tmp_path / "none.onnx"), save(tmp_path / "op.onnx", "NoSuchOp")):
        with pytest.raises(LoadError) as caught:
            REFERENCE.prepare(path)
        assert "\n" not in str(caught.value)
