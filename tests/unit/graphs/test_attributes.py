"""Attributes and constants, in every form in which ONNX stores them."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from harness.graphs.attributes import (
    attribute,
    attributes,
    constant,
    constants,
    schema,
    set_attribute,
    tensors,
)
from harness.graphs.view import Net

ARRAY = np.array([[1, 2]], np.float16)
FORMS = {
    "value": (numpy_helper.from_array(ARRAY), ARRAY),
    "value_int": (3, np.array(3, np.int64)),
    "value_ints": ([3, 4], np.array([3, 4], np.int64)),
    "value_float": (0.5, np.array(0.5, np.float32)),
    "value_floats": ([0.5, 1.5], np.array([0.5, 1.5], np.float32)),
}


def cell(**more):
    return helper.make_node("RNN", ["x", "w", "r"], ["y"], hidden_size=4, **more)


def test_text_comes_as_text_alone_and_in_lists():
    node = cell(direction="reverse", activations=["Relu"], clip=0.5)
    assert attribute(node, "direction") == "reverse"
    assert attribute(node, "activations") == ["Relu"]
    assert attribute(node, "layout", 0) == 0
    expected = {"hidden_size": 4, "direction": "reverse", "activations": ["Relu"], "clip": 0.5}
    assert attributes(node) == expected


def test_nested_graphs_are_no_attributes_but_can_be_asked_for():
    body = helper.make_graph([], "body", [], [])
    node = helper.make_node("Loop", ["n", ""], ["y"], body=body, note="kept")
    assert attributes(node) == {"note": "kept"}
    assert attribute(node, "body") == body


def test_an_attribute_is_set_replaced_and_taken_away():
    node = cell()
    set_attribute(node, "direction", "reverse")
    set_attribute(node, "direction", "forward")
    set_attribute(node, "hidden_size", None)
    assert attributes(node) == {"direction": "forward"}


@pytest.mark.parametrize(("form", "value", "array"), [(f, *pair) for f, pair in FORMS.items()])
def test_a_constant_is_a_tensor_whatever_its_form(form, value, array):
    node = helper.make_node("Constant", [], ["c"], **{form: value})
    tensor = numpy_helper.to_array(constant(node))
    assert tensor.dtype == array.dtype
    np.testing.assert_array_equal(tensor, array)


def test_text_and_other_nodes_are_no_constants():
    assert constant(helper.make_node("Constant", [], ["c"], value_string="text")) is None
    zero = numpy_helper.from_array(np.zeros(1))
    shaped = helper.make_node("ConstantOfShape", ["shape"], ["c"], value=zero)
    assert constant(shaped) is None
    assert list(tensors(shaped)) == [zero]


def test_a_graph_has_initializers_and_constants_of_every_form():
    nodes = [helper.make_node("Constant", [], [form], **{form: FORMS[form][0]}) for form in FORMS]
    nodes.append(helper.make_node("Add", ["w", "value_float"], ["y"]))
    graph = helper.make_graph(nodes, "g", [], [], [numpy_helper.from_array(ARRAY, "w")])
    assert set(constants(graph)) == {"w", *FORMS}
    net = Net(helper.make_model(graph))
    assert net.computing == [len(FORMS)], "a Constant node was taken for one that computes"
    np.testing.assert_array_equal(net.constants["value_ints"], [3, 4])


def test_the_definition_of_an_operator_is_that_of_the_imported_opset():
    node = helper.make_node("Scatter", ["a", "b", "c"], ["y"])
    assert not schema(node, {"": 10}).deprecated
    assert schema(node, {"": 18}).deprecated
    assert schema(helper.make_node("Scatter", [], ["y"], domain="theirs"), {"": 18}) is None
