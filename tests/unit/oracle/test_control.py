"""The oracle's Loop, Scan and If against ONNX Runtime's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, parser

from harness.core.errors import RunError
from harness.oracle.runtime import ORACLE

X = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 3.0]], np.float32)


def model(text: str, opset: int = 18) -> Any:
    return parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')


def ours(proto: Any, folder: Path, inputs: dict[str, Any]) -> list[Any]:
    path = folder / "m.onnx"
    onnx.save(proto, path)
    return [value for _, value in ORACLE.prepare(str(path)).run(inputs)]


def theirs(proto: Any, inputs: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, inputs))


def agree(proto: Any, folder: Path, inputs: dict[str, Any]) -> list[Any]:
    mine, other = ours(proto, folder, inputs), theirs(proto, inputs)
    for a, b in zip(mine, other, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5)
        assert a.dtype == (np.float64 if b.dtype == np.float32 else b.dtype)
    return mine


LOOP = """
g (float[n, 2] x, int64 trips) => (float[n, 2] last, float[m, n, 2] every, int64[m] counted) {
    go = Constant<value = bool {1}>()
    last, every, counted = Loop(trips, go, x)<body = step
        (int64 i, bool more, float[n, 2] h) =>
        (bool again, float[n, 2] new, float[n, 2] row, int64 count) {
            half = Constant<value_float = 0.5>()
            y = Sin(h)
            z = Mul(y, half)
            new = Add(z, x)
            row = Identity(z)
            count = Identity(i)
            again = Identity(more)
        }>
}
"""
PAST = """
g (float[2] x, float bound) => (float[2] last, float[m] sums) {
    go = Constant<value = bool {1}>()
    last, sums = Loop(, go, x)<body = step
        (int64 i, bool more, float[2] h) => (bool again, float[2] new, float total) {
            new = Mul(h, h)
            total = ReduceSum<keepdims = 0>(new)
            again = Less(total, bound)
        }>
}
"""
SHADOWED = """
g (float[2] x, int64 trips) => (float[2] last) {
    h = Neg(x)
    i = Constant<value_float = 7.0>()
    go = Constant<value = bool {1}>()
    last = Loop(trips, go, x)<body = step
        (int64 i, bool more, float[2] h) => (bool again, float[2] new) {
            by = Cast<to = 1>(i)
            new = Add(h, by)
            again = Identity(more)
        }>
}
"""
SCAN = """
g (float[n, 2] x, float[2] start) => (float[2] last, float[n, 2] sums) {
    last, sums = Scan<num_scan_inputs = 1, scan_input_directions = [%d],
        scan_output_directions = [%d], scan_output_axes = [%d], scan_input_axes = [%d],
        body = step (float[2] s, float[2] row) => (float[2] new, float[2] out) {
            new = Add(s, row)
            out = Tanh(new)
        }>(start, x)
}
"""
BRANCH = """
g (float[n, 2] x, bool which) => (float[k, 2] y) {
    y = If(which)<then_branch = a () => (float[k, 2] p) { p = Exp(x) },
                  else_branch = b () => (float[k, 2] q) {
                      one = Constant<value_floats = [1.0, 0.1]>()
                      q = Add(x, one) }>
}
"""


@pytest.mark.parametrize("trips", [1, 3])
def test_loop_carries_and_stacks_along_a_new_axis(tmp_path, trips):
    agree(model(LOOP), tmp_path, {"x": X, "trips": np.array(trips)})


def test_a_loop_without_iterations_gives_its_start_and_nothing_stacked(tmp_path):
    last, every, counted = ours(model(LOOP), tmp_path, {"x": X, "trips": np.array(0)})
    np.testing.assert_array_equal(last, X)
    assert every.shape[0] == 0
    assert every.ndim == 3
    assert every.dtype == np.float64
    assert counted.shape == (0,)
    assert counted.dtype == np.int64


def test_a_loop_ends_on_its_condition(tmp_path):
    start = np.array([1.2, 1.1], np.float32)
    outputs = agree(model(PAST), tmp_path, {"x": start, "bound": np.array(50, np.float32)})
    assert len(outputs[1]) > 2


def test_a_body_sees_its_own_inputs_before_names_around_it(tmp_path):
    inputs = {"x": np.array([1, 2], np.float32), "trips": np.array(3)}
    (last,) = ours(model(SHADOWED), tmp_path, inputs)
    np.testing.assert_array_equal(last, [4.0, 5.0])


@pytest.mark.parametrize("axes", [(0, 0), (1, 0), (0, 1)], ids=["rows", "out", "in"])
@pytest.mark.parametrize("directions", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_scan_goes_both_ways_along_any_axis(tmp_path, directions, axes):
    proto = model(SCAN % (*directions, *axes))
    for tensor in (proto.graph.input[0], proto.graph.output[1]):
        tensor.type.tensor_type.shape.ClearField("dim")
        tensor.type.tensor_type.ClearField("shape")
    x = X[:2] if axes[1] else X
    agree(proto, tmp_path, {"x": x, "start": np.array([0.1, -0.2], np.float32)})


def test_scan_inputs_of_different_lengths_are_refused(tmp_path):
    text = """
    g (float[n] x, float[m] z) => (float[n] y) {
        y = Scan<num_scan_inputs = 2, body = b (float p, float q) => (float r) {
            r = Add(p, q) }>(x, z)
    }
    """
    with pytest.raises(RunError, match=r"have \[2, 3\] steps"):
        ours(model(text), tmp_path, {"x": X[0], "z": X[:, 0]})


@pytest.mark.parametrize("which", [True, False])
def test_branches_read_the_graph_around_them(tmp_path, which):
    agree(model(BRANCH), tmp_path, {"x": X, "which": np.array(which)})


def test_an_omitted_output_is_no_input_of_others(tmp_path):
    proto = model("g (float[n, 2] x) => (float[n, 2] y) { y = Dropout(x) }")
    proto.graph.node[0].CopyFrom(
        onnx.helper.make_node("LSTM", ["s", "w", "r"], ["", "h", ""], hidden_size=1)
    )
    proto.graph.node.extend(
        [
            onnx.helper.make_node("Unsqueeze", ["x", "first"], ["t"]),
            onnx.helper.make_node("Clip", ["h", "", "top"], ["y"]),
        ]
    )
    proto.graph.node.insert(0, onnx.helper.make_node("Unsqueeze", ["x", "first"], ["s"]))
    proto.graph.node.pop(2)
    weights = np.ones((1, 4, 2), np.float32), np.ones((1, 4, 1), np.float32)
    for name, value in (
        ("first", np.array([0])),
        ("w", weights[0]),
        ("r", weights[1]),
        ("top", np.array(9, np.float32)),
    ):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert proto.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    agree(proto, tmp_path, {"x": X})
