"""Activations, dense layers and dropout: where each defect is planted and what it does."""

from math import erf

import numpy as np
import pytest
from onnx import helper

from harness.core.schema import TensorSpec
from harness.mutation.defects import activations
from harness.mutation.defects.defect import defects_of
from tests.support.mutants import IDS, planted, pointwise, run, spec, subject, tagger

X = np.linspace(-4, 4, 30, dtype=np.float32).reshape(2, 3, 5)


def softmax(x, axis=-1):
    raised = np.exp(x - x.max(axis, keepdims=True))
    return raised / raised.sum(axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def hard(x, slope):
    return (slope * x + 0.5).clip(0, 1)


def pade(x):
    cut = np.clip(x, -3, 3)
    return cut * (27 + cut**2) / (27 + 9 * cut**2)


def normalised(x, epsilon):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)


S, T, M = "Sigmoid", "Tanh", "Softmax"
POINTWISE = [
    (activations.sigmoid_as_hard_sigmoid, S, "Sigmoid 0 0.2", lambda x: hard(x, 0.2)),
    (activations.sigmoid_as_hard_sigmoid, S, "Sigmoid 0 1/6", lambda x: hard(x, 1 / 6)),
    (activations.sigmoid_from_rational_tanh, S, "Sigmoid 0", lambda x: (1 + pade(x / 2)) / 2),
    (activations.sigmoid_as_softmax, S, "Sigmoid 0", softmax),
    (activations.tanh_as_rational, T, "Tanh 0", pade),
    (activations.tanh_as_softsign, T, "Tanh 0", lambda x: x / (1 + abs(x))),
    (activations.softmax_over_another_axis, M, "Softmax 0 axis 0", lambda x: softmax(x, 0)),
    (activations.softmax_over_another_axis, M, "Softmax 0 axis 1", lambda x: softmax(x, 1)),
    (activations.softmax_as_log_softmax, M, "Softmax 0", lambda x: np.log(softmax(x))),
    (activations.softmax_as_sigmoid, M, "Softmax 0", sigmoid),
    (activations.softmax_with_temperature, M, "Softmax 0", lambda x: softmax(x / 1.001)),
    (activations.activation_dropped, M, "Softmax 0", lambda x: x),
    (activations.activation_dropped, S, "Sigmoid 0", lambda x: x),
]


@pytest.mark.parametrize(("defect", "op", "place", "becomes"), POINTWISE)
def test_an_activation_becomes_another(defect, op, place, becomes):
    where = pointwise(op)
    expected = becomes(X.astype(np.float64))
    changed = run(planted(defect, where)[place].model, {"x": X})["y"]
    np.testing.assert_allclose(changed, expected, atol=2e-6)
    assert np.abs(changed - run(where.model, {"x": X})["y"]).max() > 1e-5


@pytest.mark.parametrize("defect", defects_of(activations))
def test_nothing_where_there_is_no_such_node(defect):
    assert planted(defect, pointwise("Exp")) == {}


def test_gelu_by_tanh_is_near_the_one_by_erf_and_planted_in_that_alone():
    where = pointwise("Gelu")
    changed = run(planted(activations.gelu_by_tanh, where)["Gelu 0"].model, {"x": X})["y"]
    exact = np.vectorize(lambda x: x * (1 + erf(x / 2**0.5)) / 2)(X.astype(np.float64))
    assert 1e-5 < np.abs(changed - exact).max() < 1e-3
    assert planted(activations.gelu_by_tanh, pointwise("Gelu", approximate="tanh")) == {}


def test_normalization_epsilon_is_a_hundred_times_larger():
    scale = {"scale": np.ones(5, np.float32)}
    where = pointwise("LayerNormalization", scale, epsilon=1e-3)
    mutants = planted(activations.normalization_epsilon_changed, where)
    changed = run(mutants["LayerNormalization 0"].model, {"x": X})["y"]
    np.testing.assert_allclose(changed, normalised(X.astype(np.float64), 0.1), atol=1e-5)


def test_dropout_is_before_every_layer_and_drops_a_tenth_anew():
    where = tagger()
    mutants = planted(activations.dropout_left_on, where)
    assert set(mutants) == {"before LSTM 0", "before MatMul 1"}
    where = pointwise("MatMul", {"kernel": np.eye(5, dtype=np.float32)})
    (mutant,) = planted(activations.dropout_left_on, where).values()
    ones = np.ones((4, 500, 5), np.float32)
    first, second = (run(mutant.model, {"x": x})["y"] for x in (ones, ones[:, :400]))
    assert 0.08 < (first == 0).mean() < 0.12
    np.testing.assert_allclose(first[first != 0], 1 / 0.9, rtol=1e-6)
    assert ((first[:, :400] == 0) != (second == 0)).any()


def test_the_bias_of_a_matrix_product_and_of_a_gemm_is_dropped():
    where = tagger()
    kept = run(where.model, {"ids": IDS})["y"]
    (mutant,) = planted(activations.dense_bias_dropped, where).values()
    bias = next(t for t in where.model.graph.initializer if t.name == "bias")
    changed = np.log(run(mutant.model, {"ids": IDS})["y"])
    difference = np.log(kept) - changed - np.frombuffer(bias.raw_data, np.float32)
    np.testing.assert_allclose(difference, difference[..., :1].repeat(5, -1), atol=1e-5)


def test_a_gemm_without_its_bias_and_with_its_weight_in_the_other_order():
    weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    described = spec(
        [TensorSpec("x", "float32", ("batch", 2))], [TensorSpec("y", "float32", ("batch", 3))]
    )
    gemm = helper.make_node("Gemm", ["x", "weight", "bias"], ["y"], transB=1)
    where = subject([gemm], {"weight": weight, "bias": np.ones(3, np.float32)}, described)
    x = np.array([[1, 2]], np.float32)
    (bare,) = planted(activations.dense_bias_dropped, where).values()
    np.testing.assert_array_equal(run(bare.model, {"x": x})["y"], x @ weight.T)
    (turned,) = planted(activations.dense_weight_in_other_order, where).values()
    reordered = weight.T.reshape(3, 2)
    np.testing.assert_array_equal(run(turned.model, {"x": x})["y"], x @ reordered.T + 1)
