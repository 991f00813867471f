"""How often each decision of a graph is taken, counted by ONNX Runtime in a copy of it."""

import numpy as np
import onnx
import pytest
from onnx import parser

from harness.graphs.decisions import COUNTS, MARGINS, counting
from harness.runtimes.ort import CPU

HEAD = '<ir_version: 8, opset_import: ["" : {opset}]> net (float[n, t] x) => (float[n, t] y) {{'


def graph(text, opset=17):
    return parser.parse_model(HEAD.format(opset=opset) + text + "}")


def counted(model, tmp_path, *values):
    """Every decision with how often it was true and how often false."""
    copy, decisions = counting(model)
    onnx.checker.check_model(copy, full_check=True)
    onnx.save_model(copy, tmp_path / "counting.onnx")
    session = CPU.prepare(str(tmp_path / "counting.onnx"))
    total = 0
    for value in values:
        outputs = dict(session.run({"x": np.array(value, np.float32)}))
        assert list(outputs) == [COUNTS, MARGINS]
        assert outputs[MARGINS].size == 2 * sum(decision.margin for decision in decisions)
        counts = outputs[COUNTS]
        total = total + counts.reshape(-1, 2)
    return {
        (d.operator, d.condition): (true, of - true)
        for d, (true, of) in zip(decisions, total.tolist(), strict=True)
    }


X = [[-4.0, -0.5, 0.25, 5.0, 0.0]]
BELOW, ABOVE, TRUE = "it is below its low end", "it is above its high end", "it is true"
LESS_THAN_0 = "its argument is below 0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y = Relu(x)", {("Relu", LESS_THAN_0): (2, 3)}),
        ("y = LeakyRelu(x)", {("LeakyRelu", LESS_THAN_0): (2, 3)}),
        (
            "y = ThresholdedRelu<alpha = 2.0>(x)",
            {("ThresholdedRelu", "its argument is below 2"): (4, 1)},
        ),
        (
            "lo = Constant<value_float = -1.0>() hi = Constant<value_float = 9.0>()"
            " y = Clip(x, lo, hi)",
            {("Clip", BELOW): (1, 4), ("Clip", ABOVE): (0, 5)},
        ),
        ("hi = Constant<value_float = 1.0>() y = Clip(x, , hi)", {("Clip", ABOVE): (1, 4)}),
        ("hi = Constant<value_float = 3.4e38>() y = Clip(x, , hi)", {}),
        ("y = HardSwish(x)", {("HardSwish", BELOW): (1, 4), ("HardSwish", ABOVE): (1, 4)}),
        ("y = HardSigmoid(x)", {("HardSigmoid", BELOW): (1, 4), ("HardSigmoid", ABOVE): (1, 4)}),
        (
            "c = Constant<value_float = 0.2>() y = Max(x, c)",
            {
                ("Max", "argument 0 is not the one that it gives"): (3, 2),
                ("Max", "argument 1 is not the one that it gives"): (2, 3),
            },
        ),
        (
            "c = Constant<value_float = 1.0>() g = Greater(x, c) n = Not(g) y = Where(n, x, c)",
            {("Greater", TRUE): (1, 4)},
        ),
        (
            "b = Cast<to = 9>(x) y = Where(b, x, x)",
            {("Where", "its condition is true"): (4, 1)},
        ),
        (
            "c = Constant<value_float = 1.0>() d = Constant<value_float = 2.0>()"
            " g = Greater(c, d) y = Where(g, x, c)",
            {},
        ),
    ],
)  # fmt: skip
def test_each_kind_of_decision(text, expected, tmp_path):
    assert (
        counted(graph(text, 14), tmp_path, X) == expected
        if expected
        else not counting(graph(text, 14))[1]
    )


def test_what_depends_on_sizes_alone_is_told():
    text = """s = Shape(x) two = Constant<value_ints = [2, 2]>() g = Greater(s, two)
        l = Less(x, x) b = Cast<to = 1>(l) c = Cast<to = 1>(g) d = ReduceSum(c) y = Mul(b, d)"""
    assert {d.operator: d.by_size for d in counting(graph(text))[1]} == {
        "Greater": True,
        "Less": False,
    }


BRANCHES = """z = Constant<value_float = 0.0>() s = ReduceSum<keepdims = 0>(x) c = Greater(s, z)
    y = If (c) <
        then_branch = g () => (float[n, t] a) { a = Relu(x) },
        else_branch = h () => (float[n, t] b) { e = Abs(x) b = LeakyRelu(e) }
    >"""


def test_the_branches_of_an_if(tmp_path):
    assert counted(graph(BRANCHES), tmp_path, [[1, -0.5, 2]]) == {
        ("Greater", TRUE): (1, 0),
        ("Relu", LESS_THAN_0): (1, 2),
        ("Abs", LESS_THAN_0): (0, 0),
        ("LeakyRelu", LESS_THAN_0): (0, 0),
    }
    both = counted(graph(BRANCHES), tmp_path, [[1, -0.5, 2]], [[-1, -2]], [[1, -3]])
    assert both["Greater", TRUE] == (1, 2)
    assert both["Abs", LESS_THAN_0] == (3, 1)


LOOP = """s = Shape(x) i = Constant<value_int = 0>() m = Gather(s, i)
    yes = Constant<value = bool {1}>()
    y = Loop (m, yes, x) <
        body = g (int64 k, bool go, float[n, t] a) => (bool on, float[n, t] b) {
            on = Identity(go) one = Constant<value_float = 1.0>() r = Relu(a) b = Sub(r, one)
        }
    >"""
SCAN = """z = Constant<value_floats = [0.0]>() n = Identity(z)
    last, y = Scan <num_scan_inputs = 1,
        body = g (float[1] a, float[t] e) => (float[1] b, float[t] o) {
            b = Identity(a) o = Relu(e)
        }
    > (n, x)"""


@pytest.mark.parametrize("opset", [12, 17])
def test_the_repetitions_of_a_body(opset, tmp_path):
    assert counted(graph(LOOP, opset), tmp_path, [[1, -0.5], [3, 4]]) == {
        ("Relu", LESS_THAN_0): (2, 6)
    }
    assert counted(graph(SCAN, opset), tmp_path, [[1, -0.5], [3, -4], [-1, 0]]) == {
        ("Relu", LESS_THAN_0): (3, 3)
    }


def test_an_empty_tensor_counts_nothing(tmp_path):
    assert counted(graph("y = Relu(x)"), tmp_path, np.zeros((2, 0))) == {
        ("Relu", LESS_THAN_0): (0, 0)
    }


def test_the_graph_itself_stays_as_it_is():
    model = graph(BRANCHES)
    before = model.SerializeToString()
    counting(model)
    assert model.SerializeToString() == before
    assert counting(graph("y = Relu(x)", 8))[1] == []


def test_how_far_a_decision_was_missed(tmp_path):
    text = """lo = Constant<value_float = -1.0>() hi = Constant<value_float = 9.0>()
        c = Clip(x, lo, hi) g = Less(x, hi) y = Where(g, c, x)"""
    copy, decisions = counting(graph(text))
    onnx.save_model(copy, tmp_path / "counting.onnx")
    session = CPU.prepare(str(tmp_path / "counting.onnx"))
    margins = dict(session.run({"x": np.array(X, np.float32)}))[MARGINS].reshape(-1, 2)
    assert [d.operator for d in decisions if d.margin] == ["Clip", "Clip", "Less"]
    assert margins.tolist() == [[3, 6], [-4, 13], [13, -4]]
