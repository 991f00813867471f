"""A copy without the values of large weights, and a file that is made weight by weight."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.graphs.inference import inferred
from harness.graphs.light import SMALL, fed, filled, light
from harness.graphs.serialize import serialized, write

LARGE = np.arange(2 * SMALL, dtype=np.float32).reshape(2, SMALL)


def model(*nodes, **more):
    """``nodes`` over an input ``x``, the weight ``large``, and constants that are not left out."""
    stored = {"large": LARGE, "one": np.ones(1, np.float32), "many": np.arange(2 * SMALL)}
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", None]) for n in "xy"]
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "large"], ["y"])],
        "g",
        values[:1],
        values[1:],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
        doc_string="what it is",
        value_info=[helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 18)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, **more)
    helper.set_model_props(made, {"key": "value"})
    return made


def test_the_values_of_large_float32_weights_alone_are_left_out():
    whole = model()
    before = whole.SerializeToString()
    copy = light(whole)
    large, one, many = copy.graph.initializer
    assert whole.SerializeToString() == before
    assert (large.name, [*large.dims], large.data_type) == ("large", [2, SMALL], TensorProto.FLOAT)
    assert not large.HasField("raw_data")
    assert (one, many) == (*whole.graph.initializer[1:],)
    assert filled(copy, whole).SerializeToString() == before


def test_shapes_follow_as_they_do_from_the_whole_model():
    dims = inferred(model()).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["n", SMALL]


@pytest.mark.parametrize("listed", [False, True], ids=["initializers", "inputs too"])
def test_onnx_checks_a_model_whose_weights_are_fed(listed):
    whole = model()
    if listed:
        value = helper.make_tensor_value_info("large", TensorProto.FLOAT, LARGE.shape)
        whole.graph.input.append(value)
    onnx.checker.check_model(fed(whole), full_check=True)
    wrong = model(helper.make_node("MatMul", ["x", "large", "one"], ["y"]))
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(fed(wrong), full_check=True)
    wrong = model(helper.make_node("Add", ["large", "many"], ["y"]))
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.checker.check_model(fed(wrong), full_check=True)


def with_function():
    node = helper.make_node("Neg", ["a"], ["b"])
    opsets = [helper.make_opsetid("", 18)]
    return model(functions=[helper.make_function("own", "f", ["a"], ["b"], [node], opsets)])


@pytest.mark.parametrize(
    "whole",
    [
        model(),
        model(producer_name="p", producer_version="1", doc_string="d", model_version=3),
        with_function(),
        onnx.ModelProto(),
        onnx.ModelProto(graph=onnx.GraphProto()),
        onnx.ModelProto(ir_version=9, graph=onnx.GraphProto(name="empty")),
    ],
    ids=["weights", "texts", "a function", "nothing", "an empty graph", "no weights"],
)
def test_a_file_is_what_protobuf_makes(whole, tmp_path):
    expected = whole.SerializeToString()
    assert b"".join(serialized(whole)) == expected
    write(whole, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == expected
