"""Walking nested graphs: nodes, what they read, what a graph has to be given."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.graphs import walk

FLOAT = TensorProto.FLOAT


def value(name):
    return helper.make_tensor_value_info(name, FLOAT, [2])


def graph(nodes, inputs=(), outputs=(), stored=()):
    initializers = [numpy_helper.from_array(np.ones(2, np.float32), name) for name in stored]
    return helper.make_graph(
        nodes, "g", [*map(value, inputs)], [*map(value, outputs)], initializers
    )


def branching():
    """An If whose branches take ``x``, ``w`` and ``far`` from the graph around them."""
    inner = helper.make_node(
        "If",
        ["here"],
        ["chosen"],
        then_branch=graph([helper.make_node("Neg", ["far"], ["a"])], outputs=["a"]),
        else_branch=graph([], outputs=["w"]),
    )
    then = [
        helper.make_node("Less", ["x", "own"], ["here"]),
        inner,
        helper.make_node("Add", ["chosen", "x"], ["y1"]),
    ]
    return helper.make_node(
        "If",
        ["condition"],
        ["y"],
        then_branch=graph(then, outputs=["y1"], stored=["own"]),
        else_branch=graph([helper.make_node("Abs", ["x"], ["y2"])], outputs=["y2"]),
    )


def test_nodes_come_before_those_nested_in_them():
    outer = graph([branching(), helper.make_node("Exp", ["y"], ["z"])])
    function = helper.make_function(
        "own", "f", ["p"], ["q"], [helper.make_node("Log", "p", "q")], []
    )
    kinds = [node.op_type for node in walk.nodes(outer, function)]
    assert kinds == ["If", "Abs", "Less", "If", "Neg", "Add", "Exp", "Log"]


def test_a_node_reads_what_its_bodies_take_from_around_them():
    assert walk.reads(branching()) == ["condition", "x", "w", "far"]
    assert walk.reads(helper.make_node("Clip", ["x", "", "x"], ["y"])) == ["x"]


def test_used_are_the_names_that_nodes_read_or_any_graph_gives():
    assert walk.used(graph([branching()], outputs=["y"])) == {
        *("condition", "x", "own", "here", "far", "w", "chosen"),
        *("a", "y1", "y2", "y"),
    }


def test_an_input_that_an_initializer_fills_is_not_to_be_given():
    free = walk.inputs(graph([], inputs=["x", "w", "y"], stored=["w"]))
    assert [value.name for value in free] == ["x", "y"]


def test_an_input_that_is_left_out_has_an_empty_name():
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    assert [walk.input_at(node, slot) for slot in range(4)] == ["x", "", "high", ""]
    assert walk.trimmed(["x", "", "y", "", ""]) == ["x", "", "y"]
    assert walk.trimmed([""]) == []


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_the_own_domain_of_onnx_has_two_spellings(domain):
    imports = [helper.make_opsetid("theirs", 3), helper.make_opsetid(domain, 18)]
    model = helper.make_model(graph([]), opset_imports=imports)
    assert walk.opsets(model) == {"theirs": 3, "": 18}
    assert walk.opset(model) == 18
    assert walk.opset(onnx.ModelProto()) == 1


def test_the_room_imports_no_framework_and_no_runtime():
    modules = "edit, example, extract, inference, interface, narrow, recurrent_edit, view"
    program = (
        f"import sys; from harness.graphs import {modules}; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "keras", "tensorflow", "onnxruntime", "onnx_ir", "openvino"}
    assert not heavy & {*done.stdout.split()}
