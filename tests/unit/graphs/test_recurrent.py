"""The table of recurrent operators against ONNX's own definitions, and what is done with gates."""

import numpy as np
import onnx
import pytest
from onnx import helper

from harness.graphs import recurrent
from harness.graphs.recurrent import RECURRENT, STACKED

OPSETS = (14, 18, 22)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("kind", RECURRENT)
def test_inputs_and_outputs_are_those_of_the_standard(kind, opset):
    schema = onnx.defs.get_schema(kind, opset)
    assert [each.name for each in schema.inputs] == list(RECURRENT[kind].inputs)
    assert [each.name for each in schema.outputs] == list(RECURRENT[kind].outputs)


@pytest.mark.parametrize("kind", RECURRENT)
def test_gates_are_those_that_the_standard_lists(kind):
    (weights,) = (each for each in onnx.defs.get_schema(kind).inputs if each.name == "W")
    letters = {"LSTM": "W[iofc]", "GRU": "W[zrh]", "RNN": "Wi"}[kind]
    assert letters in weights.description.replace("`", "")
    assert len(RECURRENT[kind].gates) == {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]


def test_slots_are_where_the_standard_has_them():
    inputs, outputs = RECURRENT["LSTM"].inputs, RECURRENT["LSTM"].outputs
    assert inputs[recurrent.SEQUENCE_LENS] == "sequence_lens"
    assert (inputs[recurrent.INITIAL_H], inputs[recurrent.INITIAL_C]) == ("initial_h", "initial_c")
    assert "".join(inputs[slot] for slot in (recurrent.X, *STACKED, recurrent.P)) == "XWRBP"
    assert [outputs[slot] for slot in (recurrent.Y, recurrent.Y_H, recurrent.Y_C)] == [*outputs]


def test_a_node_of_another_domain_is_not_recurrent():
    assert recurrent.is_recurrent(helper.make_node("GRU", ["x"], ["y"], domain="ai.onnx"))
    assert not recurrent.is_recurrent(helper.make_node("GRU", ["x"], ["y"], domain="theirs"))
    assert not recurrent.is_recurrent(helper.make_node("Loop", ["x"], ["y"]))


@pytest.mark.parametrize(("direction", "count"), [("forward", 1), ("bidirectional", 2)])
def test_directions(direction, count):
    assert recurrent.directions(helper.make_node("GRU", ["x"], ["y"], direction=direction)) == count
    assert recurrent.directions(helper.make_node("GRU", ["x"], ["y"])) == 1


def test_gates_of_a_framework_are_found_in_the_order_of_onnx():
    assert recurrent.gate_order("LSTM", "ifco") == [0, 3, 1, 2]
    assert recurrent.gate_order("GRU", "rzh") == [1, 0, 2]


@pytest.mark.parametrize("shape", [(2, 12, 5), (2, 24)])
def test_gates_are_reordered_in_every_part(shape):
    weights = np.arange(np.prod(shape)).reshape(shape)
    parts = 1 if len(shape) == 3 else 2
    moved = recurrent.reordered(weights, (3, 1, 2, 0), parts)
    blocks = [np.split(part, 4, axis=1) for part in np.split(weights, parts, axis=1)]
    swapped = [np.concatenate([g[3], g[1], g[2], g[0]], axis=1) for g in blocks]
    np.testing.assert_array_equal(moved, np.concatenate(swapped, axis=1))


def test_the_matrix_of_each_gate_is_transposed_where_it_is_square():
    weights = np.arange(2 * 6 * 2).reshape(2, 6, 2)
    turned = recurrent.transposed(weights, 3)
    for gate in range(3):
        rows = slice(2 * gate, 2 * gate + 2)
        np.testing.assert_array_equal(turned[:, rows], weights[:, rows].transpose(0, 2, 1))
    assert recurrent.transposed(weights, 2) is None
    assert recurrent.transposed(weights[0], 3) is None
