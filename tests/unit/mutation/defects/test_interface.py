"""Names, types, shapes, order and values of inputs and outputs."""

import numpy as np
import onnx
import pytest

from harness.mutation.defects import interface
from tests.support.mutants import Loaded, pair, planted, pointwise, run

X = np.linspace(-1, 2, 30, dtype=np.float32).reshape(2, 3, 5)
STATES = {
    "a": np.array([[1, 2], [3, 4], [5, 6]], np.float32),
    "b": np.array([[7, 8], [9, 10], [11, 12]], np.float32),
    "count": np.array(4, np.int32),
}


def same():
    """A model that returns ``x`` as ``y``."""
    return pointwise("Identity")


def swapped(x):
    return x[..., [1, 0, 2, 3, 4]]


VALUES = [
    (interface.output_negated, "y", lambda x: -x),
    (interface.classes_swapped, "y", swapped),
    (interface.output_constant, "y", lambda x: np.full_like(x, x.mean())),
    (interface.output_rounded, "y", lambda x: x.astype(np.float64).round(3)),
    (interface.output_clipped, "y", lambda x: x.clip(0, 0.999)),
    (interface.output_rank_changed, "y", lambda x: x[..., None]),
    (interface.output_retyped, "y float64", lambda x: x.astype(np.float64)),
    (interface.output_retyped, "y float16", lambda x: x.astype(np.float16)),
]


@pytest.mark.parametrize(("defect", "place", "becomes"), VALUES)
def test_an_output_becomes_another(defect, place, becomes):
    mutant = planted(defect, same())[place]
    onnx.checker.check_model(mutant.model, full_check=True)
    actual = run(mutant.model, {"x": X})["y"]
    expected = becomes(X)
    assert actual.shape == expected.shape
    assert actual.dtype == (expected.dtype if "float" in place else np.float32)
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert actual.shape != X.shape or actual.dtype != X.dtype or np.abs(actual - X).max() > 1e-4


@pytest.mark.parametrize(("place", "value"), [("y NaN", np.nan), ("y infinity", np.inf)])
def test_one_value_of_the_last_class_is_not_finite(place, value):
    mutant = planted(interface.output_not_finite, same())[place]
    expected = X.copy()
    expected[0, 0, 4] = value
    np.testing.assert_array_equal(run(mutant.model, {"x": X})["y"], expected)


def test_a_tensor_that_the_graph_reads_too_is_spared():
    where = pair()
    where.model.graph.node[1].input[0] = "p"
    mutant = planted(interface.output_negated, where)["p"]
    outputs = run(mutant.model, STATES)
    np.testing.assert_array_equal(outputs["p"], -STATES["a"] - 1)
    np.testing.assert_array_equal(outputs["q"], 2 * STATES["a"] + 2)


def test_outputs_of_one_type_and_shape_are_exchanged():
    mutants = planted(interface.outputs_exchanged, pair())
    assert set(mutants) == {"p/q"}
    outputs = run(mutants["p/q"].model, STATES)
    assert [*outputs] == ["p", "q", "r"]
    np.testing.assert_array_equal(outputs["p"], 2 * STATES["b"])
    np.testing.assert_array_equal(outputs["q"], STATES["a"] + 1)
    assert planted(interface.outputs_exchanged, same()) == {}


def test_an_output_is_dropped_where_another_is_left():
    mutants = planted(interface.output_dropped, pair())
    assert set(mutants) == {"p", "q", "r"}
    assert [*run(mutants["q"].model, STATES)] == ["p", "r"]
    assert planted(interface.output_dropped, same()) == {}


def test_an_output_comes_twice_under_either_name():
    mutants = planted(interface.output_duplicated, same())
    for place, names in (("y as y_1", ["y", "y_1"]), ("y as y", ["y", "y"])):
        outputs = Loaded(mutants[place].model).run({"x": X})
        assert [name for name, _ in outputs] == names
        np.testing.assert_array_equal(outputs[0][1], outputs[1][1])


def test_an_output_is_renamed():
    mutant = planted(interface.output_renamed, same())["y"]
    np.testing.assert_array_equal(run(mutant.model, {"x": X}).pop("y_1"), X)


def test_a_declared_shape_is_wrong_and_the_values_are_not():
    mutants = planted(interface.output_shape_misdeclared, same())
    assert set(mutants) == {"y axis 0", "y axis 1", "y axis 2"}
    declared = {
        place: mutant.model.graph.output[0].type.tensor_type.shape.dim
        for place, mutant in mutants.items()
    }
    assert declared["y axis 0"][0].dim_value == 7
    assert declared["y axis 1"][1].dim_value == 7
    assert declared["y axis 2"][2].dim_value == 6
    np.testing.assert_array_equal(run(mutants["y axis 1"].model, {"x": X})["y"], X)


def test_inputs_of_one_type_and_rank_are_exchanged():
    mutants = planted(interface.inputs_exchanged, pair())
    assert set(mutants) == {"a/b"}
    outputs = run(mutants["a/b"].model, STATES)
    np.testing.assert_array_equal(outputs["p"], STATES["b"] + 1)
    np.testing.assert_array_equal(outputs["q"], 2 * STATES["a"])
    assert planted(interface.inputs_exchanged, same()) == {}


def test_an_ignored_input_is_zero_and_an_ignored_length_is_seven():
    mutants = planted(interface.input_ignored, pair())
    outputs = run(mutants["a"].model, STATES)
    np.testing.assert_array_equal(outputs["p"], np.ones((3, 2)))
    np.testing.assert_array_equal(outputs["q"], 2 * STATES["b"])
    np.testing.assert_array_equal(run(mutants["count"].model, STATES)["r"], range(7))


def test_a_renamed_input_is_read_under_its_new_name():
    mutant = planted(interface.input_renamed, pair())["b"]
    inputs = {"b_1" if name == "b" else name: value for name, value in STATES.items()}
    np.testing.assert_array_equal(run(mutant.model, inputs)["q"], 2 * STATES["b"])


def test_a_dropped_input_takes_its_shape_from_another():
    mutants = planted(interface.input_dropped, pair())
    assert set(mutants) == {"a", "b", "count"}
    inputs = {name: value for name, value in STATES.items() if name != "a"}
    np.testing.assert_array_equal(run(mutants["a"].model, inputs)["p"], np.ones((3, 2)))
    inputs = {name: value for name, value in STATES.items() if name != "count"}
    np.testing.assert_array_equal(run(mutants["count"].model, inputs)["r"], range(7))
    assert planted(interface.input_dropped, same()) == {}
