"""A working copy: names are free, nodes stay in order, nested graphs count."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from harness.graphs.edit import Edit
from harness.graphs.recurrent import B, W
from harness.graphs.recurrent_edit import exchange, toggle, turn

FLOAT = TensorProto.FLOAT


def model(nodes, inputs, outputs, stored=()):
    values = [[helper.make_tensor_value_info(n, FLOAT, [2]) for n in g] for g in (inputs, outputs)]
    initializers = [numpy_helper.from_array(array, name) for name, array in stored]
    graph = helper.make_graph(nodes, "g", *values, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def doubled(source):
    """``y`` twice as large."""
    edit = Edit(source)
    edit.rewrite("y", lambda kept: edit.node("Mul", [kept, edit.constant(2, np.float32)]))
    return edit.done()


def test_a_graph_that_was_edited_before_is_edited_again():
    once = doubled(model([helper.make_node("Neg", ["x"], ["y"])], ["x"], ["y"]))
    twice = doubled(once)
    onnx.checker.check_model(twice, full_check=True)
    run = ReferenceEvaluator(twice).run
    np.testing.assert_array_equal(run(None, {"x": np.ones(2, np.float32)})[0], [-4, -4])


def test_what_a_branch_gives_from_the_graph_around_it_is_downstream():
    branches = {
        "then_branch": model([], [], ["a"]).graph,
        "else_branch": model([helper.make_node("Abs", ["x"], ["b"])], [], ["b"]).graph,
    }
    nodes = [
        helper.make_node("If", ["condition"], ["y"], **branches),
        helper.make_node("Neg", ["x"], ["a"]),
    ]
    edit = Edit(model(nodes, ["x"], ["y"]))
    assert edit.downstream(["a"]) == {"a", "y"}
    assert [node.op_type for node in edit.done().graph.node] == ["Neg", "If"]


def test_a_cycle_is_refused():
    nodes = [helper.make_node("Neg", ["b"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    with pytest.raises(ValueError, match="cycle"):
        Edit(model(nodes, [], ["b"])).done()


def test_two_directions_have_each_others_weights():
    weights = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    node = helper.make_node("RNN", ["x", "w", "w"], ["y"], direction="bidirectional")
    edit = Edit(model([node], ["x"], ["y"], [("w", weights)]))
    (node,) = edit.recurrent()
    turn(edit, node)
    np.testing.assert_array_equal(edit.value(node.input[W]), weights[::-1])
    assert len(node.input) == B


def test_inputs_change_places_only_where_both_are_given():
    node = helper.make_node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["y"])
    assert exchange(node, 5, 6)
    assert list(node.input[5:]) == ["c", "h"]
    assert not exchange(node, 3, 5)
    assert not exchange(node, 5, 7)
    toggle(node, "input_forget")
    assert node.attribute[0].i == 1
