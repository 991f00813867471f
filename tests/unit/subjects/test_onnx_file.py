"""An ONNX file as a model: what it says of its inputs, and what can be no reference."""

import numpy as np
import onnx
import pytest
from onnx import parser

from harness.core.errors import UsageError
from harness.subjects.onnx_file import OnnxFile

HEAD = '<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]>\n'
SEQUENCE = """
g (float[batch, time, 2] x, int64[batch] n, float[1, 12, 2] w, float[1, 12, 3] r) => (float y) {
    %s
}
"""
RECURRENT = """
    xs = Transpose<perm = [1, 0, 2]>(x)
    lens = Cast<to = 6>(n)
    y, h = LSTM<hidden_size = 3>(xs, w, r, , lens)
"""
SHARED = "g (float[unk__3, unk__4, 2] x, float[unk__7, 2] c) => (float y) { y = Add(x, x) }"


def written(folder, text):
    path = folder / "m.onnx"
    onnx.save(parser.parse_model(HEAD + text), path)
    return OnnxFile(path)


@pytest.mark.parametrize(
    ("body", "axis"), [(RECURRENT, "time"), ("y = Identity(x)", None)], ids=["lengths", "unread"]
)
def test_the_lengths_that_a_recurrent_node_reads_are_known(tmp_path, body, axis):
    by_name = {one.name: one for one in written(tmp_path, SEQUENCE % body).inputs()}
    assert by_name["n"].lengths_of == axis
    assert by_name["x"].lengths_of is None


def test_inputs_whose_first_axes_are_counted_share_the_batch(tmp_path):
    one, other = written(tmp_path, SHARED).inputs()
    assert one.axes == ("batch", "unk__4", 2)
    assert other.axes == ("batch", 2)


def test_a_named_first_axis_is_kept(tmp_path):
    one, other = written(tmp_path, SHARED.replace("unk__7", "words")).inputs()
    assert one.axes is not None
    assert one.axes[0] == "batch"
    assert other.axes == ("words", 2)


def test_an_operator_that_the_oracle_lacks_is_not_blamed_on_the_file(tmp_path):
    text = "g (float[batch, time] x) => (float y) { y = com.microsoft.GridCell(x) }"
    with pytest.raises(
        UsageError, match=r"the oracle has no operator com\.microsoft\.GridCell; ju"
    ):
        written(tmp_path, text).run({"x": np.zeros((1, 2), np.float32)}, wide=True)


def test_what_onnx_runtime_adds_to_the_operators_of_onnx_is_no_fault_of_a_file(tmp_path):
    node = "SimplifiedLayerNormalization<epsilon = 0.0>(x, w)"
    text = "g (float[batch, 2] x) => (float[batch, 2] y) <float[2] w = {1, 2}> { y = %s }"
    model = written(tmp_path, text % node)
    assert not model.model.graph.node[0].domain
    ((_, y),) = model.run({"x": np.array([[3, 3], [-2, 2]], np.float32)}, wide=True)
    np.testing.assert_allclose(y, [[1, 2], [-1, 2]])
    with pytest.raises(UsageError, match=r"not valid ONNX: .* No Op registered for Simplified"):
        written(tmp_path, text % "SimplifiedNorm(x, w)")
