"""Baked sizes, cut sequences and confused axes: what each planted defect does."""

import numpy as np
import pytest
from onnx import helper

from harness.core.schema import TensorSpec
from harness.mutation.defects import shapes
from harness.mutation.defects.defect import defects_of
from tests.support.masked_net import IDS, masked
from tests.support.mutants import planted, pointwise, run, spec, subject
from tests.support.recurrent_nets import last, layer, normal

ROWS, STEPS = 5, 7
"""The example."""
X = normal(99, ROWS, STEPS, 3)


def outputs(model, x=X):
    return run(model, {"x": x})["y"]


def repeated():
    """x (batch, 3) at each of ``count`` steps, in a shape computed from both."""
    nodes = [
        helper.make_node("Shape", ["x"], ["batch"], start=0, end=1),
        helper.make_node("Unsqueeze", ["count", "first"], ["steps"]),
        helper.make_node("Cast", ["steps"], ["length"], to=7),
        helper.make_node("Concat", ["batch", "length", "features"], ["shape"], axis=0),
        helper.make_node("Unsqueeze", ["x", "one"], ["alone"]),
        helper.make_node("Expand", ["alone", "shape"], ["y"]),
    ]
    sizes = {"first": np.array([0]), "one": np.array([1]), "features": np.array([3])}
    described = spec(
        [TensorSpec("x", "float32", ("batch", 3)), TensorSpec("count", "int32", ())],
        [TensorSpec("y", "float32", ("batch", "length", 3))],
        lengths={"count": "length"},
    )
    return subject(nodes, sizes, described)


def steps(model, rows, count):
    x = normal(1, rows, 3)
    rows_repeated = run(model, {"x": x, "count": np.array(count, np.int32)})["y"]
    np.testing.assert_array_equal(rows_repeated, np.broadcast_to(x[:, None], rows_repeated.shape))
    return rows_repeated.shape


def test_a_length_is_baked_and_the_batch_left():
    (mutant,) = planted(shapes.length_baked, repeated()).values()
    assert mutant.place == "Expand 0 input 1"
    assert steps(mutant.model, 2, 4) == (2, 7, 3)
    assert steps(mutant.model, ROWS, STEPS) == (5, 7, 3)


def test_a_batch_is_baked_and_the_length_left():
    (mutant,) = planted(shapes.batch_baked, repeated()).values()
    assert steps(mutant.model, 5, 4) == (5, 4, 3)
    assert steps(mutant.model, 1, 4) == (5, 4, 3), "one row is repeated"
    with pytest.raises(Exception, match="Expand"):
        steps(mutant.model, 2, 4)


def test_sizes_are_baked_wherever_they_are_computed():
    (mutant,) = planted(shapes.length_baked, masked()).values()
    assert mutant.place == "TopK 0 input 1"
    with pytest.raises(Exception, match="TopK"):
        run(mutant.model, {"ids": IDS})
    assert not planted(shapes.batch_baked, masked())


def test_constant_sizes_are_not_baked():
    assert not planted(shapes.length_baked, layer()), "its one Reshape has a constant shape"
    assert not planted(shapes.batch_baked, layer())


@pytest.mark.parametrize(
    ("defect", "runs", "fails"),
    [
        (shapes.length_baked_by_reshape, (2, 7), (2, 6)),
        (shapes.batch_baked_by_reshape, (5, 2), (4, 2)),
    ],
)
def test_a_reshape_holds_the_example(defect, runs, fails):
    where = layer()
    (mutant,) = planted(defect, where).values()
    x = normal(3, *runs, 3)
    np.testing.assert_array_equal(outputs(mutant.model, x), outputs(where.model, x))
    with pytest.raises(Exception, match="Reshape"):
        outputs(mutant.model, normal(3, *fails, 3))


def test_a_reshape_to_a_multiple_is_silent():
    (mutant,) = planted(shapes.length_baked_by_reshape, last()).values()
    assert outputs(mutant.model, normal(3, 1, 14, 3)).shape == (2, 3)


def test_a_length_that_never_changes_is_not_baked():
    where = last()
    fixed = helper.make_node("Slice", ["x", "first", "two", "one"], ["few"])
    where.model.graph.node[0].input[0] = "few"
    where.model.graph.node.insert(0, fixed)
    for name, value in (("one", 1), ("two", 2)):
        where.model.graph.initializer.append(helper.make_tensor(name, 7, [1], [value]))
    assert outputs(where.model).shape == (5, 3)
    assert not planted(shapes.length_baked_by_reshape, where)
    assert planted(shapes.batch_baked_by_reshape, where)


@pytest.mark.parametrize("limit", [16, 100])
def test_steps_beyond_a_limit_are_ignored(limit):
    where = last()
    mutant = planted(shapes.long_input_cut, where)[f"x at {limit}"]
    for length in (1, limit, limit + 1):
        x = normal(4, 2, length, 3)
        expected = outputs(where.model, x[:, :limit])
        np.testing.assert_array_equal(outputs(mutant.model, x), expected)


def test_an_output_has_as_many_steps_as_rows():
    where = layer()
    (mutant,) = planted(shapes.output_cut_to_the_batch, where).values()
    np.testing.assert_array_equal(outputs(mutant.model), outputs(where.model)[:, :ROWS])
    few = X[:, :3]
    np.testing.assert_array_equal(outputs(mutant.model, few), outputs(where.model, few))
    assert not planted(shapes.output_cut_to_the_batch, last())


def test_equal_axes_are_transposed_and_others_left():
    where = layer()
    (mutant,) = planted(shapes.time_and_batch_transposed_when_equal, where).values()
    np.testing.assert_array_equal(outputs(mutant.model), outputs(where.model))
    square = X[:, :ROWS]
    turned = outputs(where.model, square.transpose(1, 0, 2))
    np.testing.assert_allclose(outputs(mutant.model, square), turned, atol=1e-6)


def test_a_transpose_is_left_out():
    where = last()
    (mutant,) = planted(shapes.transpose_omitted, where).values()
    assert mutant.place == "Transpose 0"
    turned = outputs(where.model, X.transpose(1, 0, 2))
    np.testing.assert_allclose(outputs(mutant.model), turned, atol=1e-6)


def test_every_transpose_is_left_out():
    where = masked()
    (mutant,) = planted(shapes.time_and_batch_confused, where).values()
    assert mutant.place == "3 Transpose"
    assert [n.op_type for n in mutant.model.graph.node].count("Transpose") == 0
    assert len(planted(shapes.transpose_omitted, where)) == 3
    assert not planted(shapes.time_and_batch_confused, last())


@pytest.mark.parametrize("defect", defects_of(shapes))
def test_only_inputs_and_outputs_are_cut_where_nothing_is_recurrent(defect):
    mutants = planted(defect, pointwise("Tanh"))
    allowed = (shapes.long_input_cut, shapes.output_cut_to_the_batch)
    assert bool(mutants) == (defect in allowed)
