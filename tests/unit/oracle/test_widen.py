"""harness.oracle.widen: no narrow float is left anywhere in a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from harness.oracle.widen import NARROW, widen, widen_value

HEAD = '<ir_version: 9, opset_import: ["" : 18, "local" : 1]>\n'


def model(text: str) -> Any:
    return parser.parse_model(HEAD + text)


def nodes(proto: Any) -> dict[str, Any]:
    """Each node's attributes by its operator."""
    return {
        node.op_type: {a.name: helper.get_attribute_value(a) for a in node.attribute}
        for node in proto.graph.node
    }


@pytest.mark.parametrize("narrow", NARROW, ids=TensorProto.DataType.Name)
def test_initializers_inputs_and_outputs_keep_their_values(narrow):
    proto = model("g (float[n] x) => (float[n] y) { y = Add(x, w) }")
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = narrow
    proto.graph.initializer.append(helper.make_tensor("w", narrow, [2], [0.1, -3.0]))
    before = numpy_helper.to_array(proto.graph.initializer[0]).astype(np.float64)
    wide = widen(proto)
    (tensor,) = wide.graph.initializer
    assert (tensor.name, tensor.data_type) == ("w", TensorProto.DOUBLE)
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), before)
    for value in (*wide.graph.input, *wide.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.DOUBLE
    assert proto.graph.initializer[0].data_type == narrow
    onnx.checker.check_model(wide, full_check=True)


def test_integers_and_booleans_stay():
    text = "g (int32[n] i, bool[n] b, int64[n] k) => (int32[n] y) { y = Where(b, i, i) }"
    proto = model(text)
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 2], np.int8), "q"))
    assert widen(proto) == proto


def test_constants_of_every_form():
    proto = model(
        """
        g (int64[1] s) => (float[n] y) {
            a = Constant<value = float[2] {0.1, 2.0}>()
            b = Constant<value_float = 0.1>()
            c = Constant<value_floats = [0.1, 0.2]>()
            d = Constant<value_int = 3>()
            e = ConstantOfShape(s)
            f = ConstantOfShape<value = float[1] {0.1}>(s)
            g = ConstantOfShape<value = int64[1] {1}>(s)
            y = Add(a, c)
        }
        """
    )
    constants = [
        numpy_helper.to_array(helper.get_attribute_value(n.attribute[0]))
        for n in widen(proto).graph.node
        if n.attribute and n.attribute[0].name == "value"
    ]
    expected: list[Any] = [np.float32([0.1, 2]), np.float32(0.1), np.float32([0.1, 0.2])]
    expected += [np.float32([0]), np.float32([0.1]), np.int64([1])]
    assert len(constants) == len(expected)
    for got, want in zip(constants, expected, strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == (np.float64 if want.dtype == np.float32 else np.int64)


def test_attributes_that_name_a_dtype():
    proto = model(
        """
        g (float[n, n] x, int64[n, n] i) => (double[n, n] y) {
            a = Cast<to = 1>(i)
            b = RandomNormalLike<dtype = 10>(x)
            c = EyeLike<dtype = 16>(i)
            d = RandomUniform<shape = [2]>()
            e = HannWindow(i)
            h = Bernoulli<dtype = 6>(x)
            y = LayerNormalization(x, x)
        }
        """
    )
    attributes = nodes(widen(proto))
    assert attributes["Cast"]["to"] == TensorProto.DOUBLE
    for op in ("RandomNormalLike", "EyeLike", "RandomUniform"):
        assert attributes[op]["dtype"] == TensorProto.DOUBLE
    assert attributes["HannWindow"]["output_datatype"] == TensorProto.DOUBLE
    assert attributes["LayerNormalization"]["stash_type"] == TensorProto.DOUBLE
    assert attributes["Bernoulli"]["dtype"] == TensorProto.INT32


def test_nested_graphs_functions_and_the_types_of_sequences():
    proto = model(
        """
        g (float[n] x, bool p, int64 t) => (seq(float[n]) y) {
            go = Constant<value = bool {1}>()
            u = If(p)<then_branch = a () => (float[n] v) {
                v = Loop(t, go, x)<body = b
                    (int64 i, bool m, float[n] h) => (bool k, float[n] o) {
                        c = Constant<value_float = 0.1>()
                        o = Mul(h, c)
                        k = Identity(m)
                    }>
                }, else_branch = d () => (float[n] z) { z = local.twice(x) }>
            y = SequenceConstruct(u)
        }
        <domain: "local", opset_import: ["" : 18]>
        twice (x) => (y) {
            two = Constant<value_float = 2.0>()
            y = Mul(x, two)
        }
        """
    )
    wide = widen(proto)
    text = onnx.printer.to_text(wide)
    assert "value_float" not in text
    assert str(wide).count("elem_type: 11") == str(proto).count("elem_type: 1\n")
    assert "elem_type: 1\n" not in str(wide)
    assert "data_type: 1\n" not in str(wide)


def test_values_are_widened_and_lists_of_them():
    half = np.array([0.5], np.float16)
    assert widen_value(half).dtype == np.float64
    assert [v.dtype for v in widen_value([half, np.array([1])])] == [np.float64, np.int64]
    assert widen_value(None) is None
