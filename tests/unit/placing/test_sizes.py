"""Which nodes are shape arithmetic, read from model files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx import helper as oh
from onnx import numpy_helper as nh

from harness.placing.sizes import on_sizes, works_on_sizes


def saved(path, nodes, constants=None, inputs="xn", ir_version=10):
    """Takes x float [N, M] and n int64 [N]; what is put out is of no interest."""
    kinds = {"x": (TensorProto.FLOAT, ["N", "M"]), "n": (TensorProto.INT64, ["N"])}
    kinds |= {"c": (TensorProto.BOOL, []), "k": (TensorProto.INT64, [2])}
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info(name, *kinds[name]) for name in inputs],
        [],
        [nh.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    onnx.save(oh.make_model(graph, ir_version=ir_version), path)
    return str(path)


def make(op_type, inputs, output="", **attributes):
    return oh.make_node(op_type, inputs.split(), [output or op_type], op_type, **attributes)


SHAPE = make("Shape", "x", "shape")


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([SHAPE], {"Shape": True}),
        ([make("Size", "n")], {"Size": True}),
        ([make("Max", "n n")], {"Max": False}),
        ([make("Identity", "n", "m"), make("Add", "m k")], {"Identity": False, "Add": False}),
        ([SHAPE, make("Add", "shape k")], {"Add": True}),
        ([SHAPE, make("Add", "shape n")], {"Add": False}),
        ([SHAPE, make("Gather", "shape k", "s"), make("Mod", "s s")], {"Mod": True}),
        ([SHAPE, make("Gather", "x k", "s"), make("Mod", "s s")], {"Mod": False}),
        ([SHAPE, make("Gather", "table shape")], {"Gather": False}),
        ([SHAPE, make("Split", "shape", "s"), make("Mul", "s k")], {"Split": False, "Mul": False}),
        ([SHAPE, oh.make_node("Add", ["shape", "k"], ["y"], "Add", "", "mine")], {"Add": False}),
        ([SHAPE, oh.make_node("Slice", ["shape", "k", "k", ""], ["y"], "Slice")], {"Slice": True}),
        ([make("Constant", "", value=nh.from_array(np.ones(3)))], {"Constant": True}),
        ([make("Constant", "", value=nh.from_array(np.ones((3, 3))))], {"Constant": False}),
        ([make("Constant", "", value_ints=[1, 2])], {"Constant": True}),
    ],
)
def test_a_node_works_on_sizes_where_all_that_it_takes_does(tmp_path, nodes, expected):
    constants = {"k": np.array([0, 1]), "table": np.ones((9, 4), np.float32)}
    sizes = on_sizes(saved(tmp_path / "m.onnx", nodes, constants))
    assert {op: sizes[op, op] for op in expected} == expected


@pytest.mark.parametrize(("ir_version", "expected"), [(3, True), (4, False)])
def test_a_constant_that_an_input_overrides_is_data(tmp_path, ir_version, expected):
    nodes = [SHAPE, make("Add", "shape k")]
    path = saved(tmp_path / "m.onnx", nodes, {"k": np.array([0, 1])}, "xk", ir_version)
    assert on_sizes(path)["Add", "Add"] is expected


def test_nodes_of_one_name_are_judged_together(tmp_path):
    def add(a, b, name):
        return oh.make_node("Add", [a, b], [f"{a}{b}{name}"], name)

    nodes = [SHAPE, add("shape", "shape", ""), add("shape", "shape", "one"), add("n", "n", "")]
    sizes = on_sizes(saved(tmp_path / "m.onnx", nodes))
    assert (sizes["Add", ""], sizes["Add", "one"]) == (False, True)
    nodes = [SHAPE, add("n", "n", ""), add("shape", "shape", "")]
    assert on_sizes(saved(tmp_path / "m.onnx", nodes))["Add", ""] is False


def test_a_nested_graph_knows_the_sizes_around_it_and_takes_data(tmp_path):
    def carried(name):
        return oh.make_tensor_value_info(name, TensorProto.INT64, [2])

    def body(name, *inputs):
        """What a graph makes of the sizes around it, and of what it is given."""
        nodes = [make("Mul", "shape k"), make("Add", "Mul shape"), make("Sub", "n shape")]
        nodes += [make("Div", "v k"), make("Shape", "v")]
        return oh.make_graph(nodes, name, list(inputs), [])

    iteration = oh.make_tensor_value_info("i", TensorProto.INT64, [])
    going = oh.make_tensor_value_info("going", TensorProto.BOOL, [])
    loop = oh.make_node("Loop", ["", "", "shape"], ["y"], "Loop")
    loop.attribute.append(oh.make_attribute("body", body("b", iteration, going, carried("v"))))
    after = make("Min", "Mul k")
    constants = {"k": np.array([0, 1])}
    sizes = on_sizes(saved(tmp_path / "m.onnx", [SHAPE, loop, after], constants))
    expected = {"Mul": True, "Add": True, "Sub": False, "Div": False, "Shape": True, "Min": False}
    assert {op: sizes[op, op] for op in expected} == expected
    hiding = oh.make_node("Loop", ["", "", "n"], ["y"], "Loop")
    hiding.attribute.append(oh.make_attribute("body", body("b", iteration, going, carried("k"))))
    sizes = on_sizes(saved(tmp_path / "m.onnx", [SHAPE, hiding], constants))
    assert sizes["Mul", "Mul"] is False


def test_a_node_that_is_not_in_the_file_permutes_a_shape_is_inlined_or_works_on_data(tmp_path):
    sizes = on_sizes(saved(tmp_path / "m.onnx", [SHAPE, make("Gather", "x n")]))
    assert not works_on_sizes("Gather", "Gather", sizes)
    assert works_on_sizes("Gather", "Gather_token_1", sizes)
    assert works_on_sizes("Gather", "Gather", {})
    assert not works_on_sizes("Gather", "Gather_1", sizes)
    assert not works_on_sizes("Max", "Gather", sizes)
    assert not works_on_sizes("Shape", "another", sizes)
    for name in ("", "_inlfunc_Shp_cat", "_if_then_branch__inline_0_cat", "_if_else_branch_cat"):
        assert works_on_sizes("Concat", name, sizes)
        assert not works_on_sizes("Softmax", name, sizes)
        assert not works_on_sizes("Concat", name, {("Concat", name): False})
