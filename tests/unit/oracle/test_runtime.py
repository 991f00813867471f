"""harness.oracle.runtime: the runtime, what it replaces in the reference evaluator, refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper, parser

from harness.core.compare import compare, structure
from harness.core.errors import LoadError, RunError
from harness.core.schema import Case, GoldenCase, ModelSpec, TensorSpec
from harness.core.tolerance import DEFAULT_ROW, Row, tolerance
from harness.oracle.evaluator import Evaluator
from harness.oracle.runtime import DECLARED, ORACLE

X = np.array([[0.1, -2.0], [3.0, 0.7], [-0.3, 5.0]], np.float32)
WIDE = X.astype(np.float64)


def save(folder: Path, text: str, opset: int = 18, **weights: Any) -> str:
    head = f'<ir_version: 9, opset_import: ["" : {opset}, "local" : 1]>\n'
    proto = parser.parse_model(head + text)
    for name, value in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(value, name))
    path = folder / "m.onnx"
    onnx.save(proto, path)
    return str(path)


def run(folder: Path, body: str, opset: int = 18, **weights: Any) -> Any:
    """The value that a graph from x [n, 2] to y computes of X."""
    text = f"g (float[n, 2] x) => (float y) {{ {body} }}"
    ((_, value),) = ORACLE.prepare(save(folder, text, opset, **weights)).run({"x": X})
    return value


PAIR = "g (float[n, 2] x) => (float[n, 2] y, int64[n] k) { y = MatMul(x, w) k = ArgMax<axis=1, keepdims=0>(y) }"  # noqa: E501


def test_outputs_come_in_graph_order_in_float64(tmp_path):
    w = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    session = ORACLE.prepare(save(tmp_path, PAIR, w=w))
    outputs = session.run({"x": X})
    assert [name for name, _ in outputs] == ["y", "k"]
    y, k = (value for _, value in outputs)
    assert (y.dtype, k.dtype) == (np.float64, np.int64)
    np.testing.assert_allclose(y, WIDE @ w.astype(np.float64), rtol=1e-15)
    assert np.abs(y - X @ w).max() > 1e-9


def test_evidence_states_the_precision(tmp_path):
    session = ORACLE.prepare(save(tmp_path, PAIR, w=np.eye(2, dtype=np.float32)))
    assert session.evidence() == {
        "providers": ["oracle"],
        "nodes_by_provider": {"oracle": {"ArgMax": 1, "MatMul": 1}},
        "precision": "float64",
        "tf32": False,
        "optimization": "none",
        "version": onnx.__version__,
    }
    assert ORACLE.check() is None
    assert ORACLE.version() == onnx.__version__


@pytest.mark.parametrize("names", [(), ("x", "z"), ("z",)])
def test_missing_and_extra_inputs_are_errors(tmp_path, names):
    session = ORACLE.prepare(save(tmp_path, PAIR, w=np.eye(2, dtype=np.float32)))
    with pytest.raises(RunError, match=r"the model takes: x$"):
        session.run(dict.fromkeys(names, X))


def test_a_node_that_fails_is_a_run_error_in_one_line(tmp_path):
    session = ORACLE.prepare(save(tmp_path, PAIR, w=np.eye(3, dtype=np.float32)))
    with pytest.raises(RunError, match=r"^\w+: .*") as caught:
        session.run({"x": X})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "opset", "word"),
    [
        ("y = NoSuchOp(x)", 18, "NoSuchOp"),
        ("y = local.Missing(x)", 18, "Missing"),
        ("y = Softmax(x)", 6, "opset 6; the oracle evaluates 13 and later"),
        (
            "k = Constant<value = bool {1}>() y = If(k)<then_branch = a () => (float p) "
            "{ p = Exp(x) }, else_branch = b () => (float q) { q = Neg(x) }>",
            11,
            "without Loop, Scan or If",
        ),
        ("y = GridSample(x, x)", 18, "GridSample is evaluated in float32"),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_one_line(tmp_path, body, opset, word):
    text = f"g (float[n, 2] x) => (float y) {{ {body} }}"
    with pytest.raises(LoadError, match=word) as caught:
        ORACLE.prepare(save(tmp_path, text, opset))
    assert "\n" not in str(caught.value)


OLDER = """
g (float[n, t, 2] x, float[1, 12, 2] w, float[1, 12, 3] r) => (float y) {
    z = Transpose<perm = [1, 0, 2]>(x)
    every, last = LSTM<hidden_size = 3>(z, w, r)
    h = Squeeze<axes = [0]>(last)
    flat = Softmax(h)
    y = Unsqueeze<axes = [1]>(flat)
}
"""


@pytest.mark.parametrize("opset", range(7, 13))
def test_an_older_opset_gives_what_onnx_runtime_gives(tmp_path, opset):
    rng = np.random.default_rng(0)
    shapes = {"x": (4, 5, 2), "w": (1, 12, 2), "r": (1, 12, 3)}
    inputs = {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    path = save(tmp_path, OLDER, opset)
    ((name, value),) = ORACLE.prepare(path).run(inputs)
    (expected,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, inputs)
    assert name == "y"
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["junk.onnx", "none.onnx", "empty.onnx"])
def test_a_file_that_is_no_model_is_told_in_one_line(tmp_path, name):
    (tmp_path / "junk.onnx").write_bytes(b"junkjunk")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(LoadError) as caught:
        ORACLE.prepare(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_an_operator_that_yields_float32_is_a_run_error(tmp_path):
    body = 'n = Shape(x) y = TfIdfVectorizer<max_gram_length=1, min_gram_length=1, max_skip_count=0, mode="TF", ngram_counts=[0], ngram_indexes=[0, 1], pool_int64s=[2, 3]>(n)'  # noqa: E501
    with pytest.raises(RunError, match="TfIdfVectorizer gives 'y' in float32"):
        run(tmp_path, body)


def erf(x: Any) -> Any:
    return np.vectorize(math.erf)(x)


ROOT = np.sqrt(WIDE.var(1, keepdims=True) + float(np.float32(1e-3)))


@pytest.mark.parametrize(
    ("body", "opset", "expected"),
    [
        ("y = Erf(x)", 18, erf(WIDE)),
        ("y = Gelu(x)", 20, WIDE / 2 * (1 + erf(WIDE / math.sqrt(2)))),
        ("y = Selu<alpha = 0.3, gamma = 0.7>(x)", 18, None),
        ("h = Cast<to = 10>(x) y = Cast<to = 1>(h)", 18, WIDE),
        ("h = Cast<to = 6>(x) y = CastLike(h, x)", 18, np.trunc(WIDE)),
        (
            "y = LayerNormalization<epsilon = 0.001>(x, s, b)",
            18,
            (WIDE - WIDE.mean(1, keepdims=True)) / ROOT * [3, 0.5] + [1, -1],
        ),
        (
            "y = RMSNormalization<epsilon = 0.001>(x, s)",
            23,
            WIDE / np.sqrt((WIDE**2).mean(1, keepdims=True) + float(np.float32(1e-3))) * [3, 0.5],
        ),
    ],
    ids=["Erf", "Gelu", "Selu", "Cast", "CastLike", "LayerNormalization", "RMSNormalization"],
)
def test_operators_are_evaluated_in_float64(tmp_path, body, opset, expected):
    if expected is None:
        alpha, gamma = float(np.float32(0.3)), float(np.float32(0.7))
        expected = gamma * np.where(WIDE > 0, WIDE, alpha * np.expm1(WIDE))
    weights = {"s": np.array([3, 0.5], np.float32), "b": np.array([1, -1], np.float32)}
    got = run(tmp_path, body, opset, **weights)
    np.testing.assert_allclose(got, expected, rtol=1e-14, atol=1e-15)


def test_the_other_outputs_of_a_layer_normalization(tmp_path):
    text = "g (float[n, 2] x) => (float m, float i) { y, m, i = LayerNormalization<axis = 0, epsilon = 0.001>(x, s) }"  # noqa: E501
    session = ORACLE.prepare(save(tmp_path, text, s=np.ones((3, 2), np.float32)))
    (_, mean), (_, inverse) = session.run({"x": X})
    np.testing.assert_allclose(mean, [[WIDE.mean()]], rtol=1e-14)
    expected = 1 / np.sqrt(WIDE.var() + float(np.float32(1e-3)))
    np.testing.assert_allclose(inverse, [[expected]], rtol=1e-14)


def test_quantised_values_are_dequantised_in_float64(tmp_path):
    body = "q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z)"
    scale = (WIDE.max() - WIDE.min()) / 255
    zero = np.rint(-WIDE.min() / scale)
    expected = (np.rint(WIDE / scale) + zero).clip(0, 255)
    np.testing.assert_allclose(run(tmp_path, body), (expected - zero) * scale, rtol=1e-15)


def test_large_integers_survive_their_dequantisation(tmp_path):
    body = "y = DequantizeLinear(q, s)"
    weights = {"q": np.array([2**24 + 1], np.int32), "s": np.array(0.5, np.float32)}
    assert run(tmp_path, body, **weights).tolist() == [(2**24 + 1) / 2]


def test_the_bodies_of_functions_are_float64_too(tmp_path):
    text = """g (float[n, 2] x) => (float[n, 2] y) { y = local.f<alpha = 0.1, kind = 1>(x) }
    <domain: "local", opset_import: ["" : 18]>
    f <alpha, kind>(x) => (y) {
        a = Constant<value_float: float = @alpha>()
        e = Erf(x)
        n = Cast<to = 7>(e)
        c = Cast<to: int = @kind>(n)
        p = Mul(a, e)
        y = Add(c, p)
    }
    """
    ((_, y),) = ORACLE.prepare(save(tmp_path, text)).run({"x": X})
    expected = np.trunc(erf(WIDE)) + float(np.float32(0.1)) * erf(WIDE)
    np.testing.assert_allclose(y, expected, rtol=1e-15)


@pytest.mark.parametrize("inside", [False, True], ids=["node", "function"])
def test_attributes_are_divided_in_float64(tmp_path, inside):
    node = "LRN<size = 3, alpha = 0.1, beta = 1.0>(x)"
    text = f"""g (float[1, c, 1, 1] x) => (float[1, c, 1, 1] y) {{
        y = {"local.f<a = 0.1>(x)" if inside else node} }}
    <domain: "local", opset_import: ["" : 18]>
    f <a>(x) => (y) {{ y = LRN<size = 3, alpha: float = @a, beta = 1.0>(x) }}
    """
    x = X[:1].reshape(1, 2, 1, 1)
    ((_, y),) = ORACLE.prepare(save(tmp_path, text)).run({"x": x})
    wide = x.astype(np.float64)
    expected = wide / (1 + float(np.float32(0.1)) / 3 * (wide**2).sum(1, keepdims=True))
    np.testing.assert_allclose(y, expected, rtol=1e-15)


def test_a_function_of_the_standard_is_widened_as_it_is_loaded():
    function = onnx.parser.parse_function(
        """<domain: "local", opset_import: ["" : 18]>
        f (s) => (y) { y = ConstantOfShape<value = float[1] {0.1}>(s) }"""
    )
    (y,) = Evaluator(function).run(None, {"s": np.array([2])}, attributes={})
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, np.float32([0.1, 0.1]))


def test_lengths_reach_a_recurrent_node(tmp_path):
    text = """g (float[t, b, 2] x, int32[b] lens) => (float[t, d, b, u] y, float[d, b, u] last) {
        y, last = LSTM<hidden_size = 1, direction = "reverse">(x, w, r, , lens)
    }"""
    weights = {"w": np.ones((1, 4, 2), np.float32), "r": np.ones((1, 4, 1), np.float32)}
    session = ORACLE.prepare(save(tmp_path, text, **weights))
    x, lens = np.stack([X, X], axis=1), np.array([3, 1], np.int32)
    y = session.run({"x": x, "lens": lens})[0][1]
    short = session.run({"x": x[:1], "lens": lens.clip(0, 1)})[0][1]
    assert not y[1:, :, 1].any()
    np.testing.assert_array_equal(y[:1, :, 1], short[:, :, 1])


Y = TensorSpec("y", "float32", ("batch", 2))
SPEC = ModelSpec("m", "", (), (Y,), "m")


def judged(value: Any, row: Row) -> tuple[str, str]:
    """What structure and values are found wrong of an output that should be 1.0."""
    expected = np.full((1, 2), 1.0)
    golden = GoldenCase(Case({}, 1), {}, {"y": expected}, None, {"y": 1e-3})
    difference = structure(SPEC, golden, [("y", value)], row)
    return difference, compare(SPEC, golden, [("y", value)], row)[0].reason


def test_the_oracle_is_held_to_1e_12_of_the_scale_whatever_the_floor():
    assert judged(np.full((1, 2), 1 + 5e-13), ORACLE.row) == ("", "")
    assert "2 times the tolerance 1e-12" in judged(np.full((1, 2), 1 + 2e-12), ORACLE.row)[1]
    assert tolerance(ORACLE.row, 1e-3, 50.0) == pytest.approx(5e-11)
    assert tolerance(ORACLE.row, 1e-3, 0.0) > 0


def test_the_oracle_must_answer_in_float64_and_nothing_else_may():
    single, double = np.ones((1, 2), np.float32), np.ones((1, 2))
    assert judged(single, ORACLE.row)[0] == "output y is float32, expected float64"
    assert judged(double, DEFAULT_ROW)[0] == "output y is float64, expected float32"
    assert judged(single, DEFAULT_ROW)[0] == ""


def test_an_integer_output_stays_one():
    spec = ModelSpec("m", "", (), (TensorSpec("y", "int64", ("batch",)),), "m")
    golden = GoldenCase(Case({}, 1), {}, {"y": np.array([1])}, None, {"y": 0.0})
    assert structure(spec, golden, [("y", np.array([1]))], ORACLE.row) == ""
    assert "expected int64" in structure(spec, golden, [("y", np.array([1.0]))], ORACLE.row)


INTERFACE = "g (float[n, 2] x, int32[n] k, float16 h) => (float[n, 2] y) { y = Add(x, x) }"
FEEDS = {"x": X, "k": np.arange(3, dtype=np.int32), "h": np.float16(1)}


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"x": X.astype(np.int32)}, "input x is int32 [3, 2], the model declares float32 [n, 2]"),
        ({"x": X > 0}, "input x is bool [3, 2], the model declares float32 [n, 2]"),
        ({"x": X.T}, "input x is float32 [2, 3], the model declares float32 [n, 2]"),
        ({"x": X[0]}, "input x is float32 [2], the model declares float32 [n, 2]"),
        ({"x": X[None]}, "input x is float32 [1, 3, 2], the model declares float32 [n, 2]"),
        ({"k": np.arange(3)}, "input k is int64 [3], the model declares int32 [n]"),
        ({"k": np.arange(3.0)}, "input k is float64 [3], the model declares int32 [n]"),
        ({"h": np.ones(1)}, "input h is float64 [1], the model declares float16 []"),
    ],
)
def test_an_input_that_is_not_what_the_graph_declares_is_refused(tmp_path, feeds, message):
    session = ORACLE.prepare(save(tmp_path, INTERFACE))
    with pytest.raises(RunError) as caught:
        session.run({**FEEDS, **feeds})
    assert str(caught.value) == message


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_floating_type_stands_for_another_where_the_graph_is_widened(tmp_path, dtype):
    path, feeds = save(tmp_path, INTERFACE), {**FEEDS, "x": X.astype(dtype)}
    ((_, y),) = ORACLE.prepare(path).run(feeds)
    np.testing.assert_array_equal(y, 2 * X.astype(dtype).astype(np.float64))
    declared = DECLARED.prepare(path)
    if dtype is np.float32:
        assert declared.run(feeds)[0][1].dtype == np.float32
    else:
        with pytest.raises(RunError, match="the model declares float32"):
            declared.run(feeds)


def test_what_a_graph_leaves_open_may_be_anything(tmp_path):
    path = save(tmp_path, "g (float[n, 2] x, string[n] s) => (float y) { y = Add(x, x) }")
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(proto, path)
    ((_, y),) = ORACLE.prepare(path).run({"x": X[0], "s": np.array(["a"])})
    np.testing.assert_array_equal(y, 2 * WIDE[0])


def test_declared_types_do_not_have_to_match_what_comes_in(tmp_path):
    text = "g (float16[n, 2] x) => (float16[n, 2] y) { y = Mul(x, x) }"
    path = save(tmp_path, text)
    assert onnx.load(path).graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    half = X.astype(np.float16)
    ((_, y),) = ORACLE.prepare(path).run({"x": half})
    np.testing.assert_array_equal(y, half.astype(np.float64) ** 2)
