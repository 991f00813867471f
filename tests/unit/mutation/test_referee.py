"""Whether a mutant computes anything else is for exact arithmetic to say."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.core.schema import BATCH, ModelSpec, Raggedness, TensorSpec
from harness.mutation.referee import FRESH, Referee, fresh
from harness.runtimes import load

INPUTS = [("one", {"x": np.array([[1.0, 2.0, 3.0]], np.float32)})]


def model(tmp_path, name, *nodes, **constants):
    def value(label):
        return helper.make_tensor_value_info(label, TensorProto.FLOAT, [BATCH, 3])

    stored = [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(list(nodes), "g", [value("x")], [value("y")], stored)
    path = tmp_path / f"{name}.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path
    )
    return path


@pytest.fixture
def doubled(tmp_path):
    two = np.array(2, np.float32)
    return model(tmp_path, "doubled", helper.make_node("Mul", ["x", "two"], ["y"]), two=two)


@pytest.fixture
def referee(doubled):
    return Referee(doubled, load("ort-cpu"), load("oracle"), lambda output, inputs: 1e-6)


def test_another_way_to_the_same_numbers_is_equivalent(referee, tmp_path):
    twin = model(tmp_path, "twin", helper.make_node("Add", ["x", "x"], ["y"]))
    assert referee.effect(twin, None, INPUTS) == (0, "the same in exact arithmetic")


def test_a_difference_below_float32_is_a_difference(referee, tmp_path):
    nearly = np.array(2 * (1 + 2.0**-23), np.float32)
    nearby = model(tmp_path, "o", helper.make_node("Mul", ["x", "near"], ["y"]), near=nearly)
    effect, reason = referee.effect(nearby, None, INPUTS)
    assert effect == pytest.approx(3 * 2 * 2.0**-23 / 1e-6)
    assert "noise floors" in reason


def test_what_cannot_be_evaluated_is_not_called_equivalent(referee, tmp_path):
    shape = np.array([7, 3], np.int64)
    reshaped = model(tmp_path, "o", helper.make_node("Reshape", ["x", "shape"], ["y"]), shape=shape)
    effect, reason = referee.effect(reshaped, None, INPUTS)
    assert effect is None
    assert "not evaluated" in reason


@pytest.mark.parametrize("operator", ["Sqrt", "Log"])
def test_nan_or_infinity_where_the_original_has_none_is_not_equivalent(referee, tmp_path, operator):
    stray = helper.make_node(operator, ["zero_or_less"], ["stray"])
    nodes = (stray, helper.make_node("Add", ["x", "x"], ["d"]))
    value = np.array(0 if operator == "Log" else -1, np.float32)
    add = helper.make_node("Add", ["d", "stray"], ["y"])
    odd = model(tmp_path, "o", *nodes, add, zero_or_less=value)
    effect, reason = referee.effect(odd, None, INPUTS)
    assert effect is None
    assert "not finite" in reason


def test_nan_in_the_same_places_is_equivalent(tmp_path):
    log = model(tmp_path, "log", helper.make_node("Log", ["x"], ["y"]))
    referee = Referee(log, load("ort-cpu"), load("oracle"), lambda output, inputs: 1e-6)
    inputs = [("one", {"x": np.array([[-1.0, 0.0, 3.0]], np.float32)})]
    assert referee.effect(log, None, inputs)[0] == 0


def test_another_shape_is_not_equivalent_even_where_it_could_be_broadcast(referee, tmp_path):
    zero = np.zeros((2, 1), np.float32)
    nodes = (helper.make_node("Add", ["x", "x"], ["d"]), helper.make_node("Add", ["d", "o"], ["y"]))
    wider = model(tmp_path, "o", *nodes, o=zero)
    effect, reason = referee.effect(wider, None, INPUTS)
    assert effect is None
    assert "another shape" in reason


class Shifted:
    def __init__(self, session, by):
        self.session, self.by = session, by

    def run(self, inputs):
        return [(name, value + self.by) for name, value in self.session.run(inputs)]

    def evidence(self):
        return {}


def test_a_changed_session_is_compared_with_the_unchanged_one(referee, doubled):
    same, why = referee.effect(doubled, lambda s: Shifted(s, np.float32(0)), INPUTS)
    shifted, _ = referee.effect(doubled, lambda s: Shifted(s, np.float32(1)), INPUTS)
    assert same == 0, why
    assert shifted == pytest.approx(1e6)


def test_fresh_inputs_have_what_goldens_may_lack():
    tokens = TensorSpec("tokens", "int64", (BATCH, "t"), low=1, high=9)
    spec = ModelSpec("m", "", (tokens,), (), "m", padded="tokens")
    drawn = dict(fresh(spec))
    shapes = {inputs["tokens"].shape for inputs in drawn.values()}
    assert {(batch, length) for length, batch in FRESH} <= shapes
    assert any(rows == steps > 1 for rows, steps in shapes)
    for kind in Raggedness:
        assert any(name.endswith(kind.value) for name in drawn)
    assert any((inputs["tokens"] == 0).any() for inputs in drawn.values())
