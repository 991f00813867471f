"""The parts of a diagnosis: plots, differences, alignment, the shortest case, cut-out models."""

import ast
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.core.errors import LoadError
from harness.core.loader import by_harness
from harness.core.results import Cell, Status
from harness.core.schema import Case, GoldenCase, ModelSpec, Raggedness, Stage, TensorSpec
from harness.core.tolerance import Row
from harness.diagnosis import (
    alignment,
    departure,
    differences,
    examples,
    plot,
    report,
    shortest,
    values,
)
from harness.diagnosis.blame import Blame
from harness.diagnosis.diagnosis import Diagnosis, Guess
from harness.diagnosis.reproduction import Example, errors, script, write
from harness.graphs import extract
from harness.graphs.view import Net
from harness.runtimes import load
from harness.runtimes.settings import NONE

SPEC = ModelSpec(
    "m",
    "",
    (TensorSpec("ids", "int32", ("batch", "steps"), 0, 9),),
    (TensorSpec("y", "float32", ("batch", "steps", 2)), TensorSpec("h", "float32", ("batch", 2))),
    "m",
    padded="ids",
)


def golden(errors_at=(), steps=None, length=12, batch=2):
    """A golden of zeros, and outputs that are off at some (row, step)."""
    case = Case({"steps": length}, batch)
    stored = length if steps is None else len(steps)
    outputs = {"y": np.zeros((batch, stored, 2)), "h": np.zeros((batch, 2))}
    ids = np.ones((batch, length), np.int32)
    ids[1, length // 2 :] = 0
    golden_case = GoldenCase(
        case, {"ids": ids}, outputs, steps, {"y": 1e-7, "h": 1e-7}, {"y": 1, "h": 1}
    )
    actual = np.zeros((batch, length, 2), np.float32)
    for row, step, size in errors_at:
        actual[row, step, 1] = size
    return golden_case, [("y", actual), ("h", np.zeros((batch, 2), np.float32))]


ROW = Row(6.0, "as ort-cpu")


def along(*errors_at, steps=None, length=12):
    golden_case, actual = golden(errors_at, steps, length)
    return departure.along(SPEC, golden_case, actual, ROW)


def test_a_departure_has_its_first_step_and_every_error():
    (departing,) = along((0, 3, 1e-3), (1, 7, 2e-3), (0, 9, 1e-8))
    assert (departing.output, departing.first, departing.beyond) == ("y", 3, [3, 7])
    assert departing.errors[7] == pytest.approx(2e-3)
    assert departing.whole
    assert len(departing.steps) == 12
    assert along((0, 9, 1e-8)) == []


def test_the_stored_steps_alone_are_told_as_such():
    (departing,) = along((0, 4, 1e-3), (0, 10, 1e-3), steps=np.array([0, 5, 10, 11]))
    assert (departing.first, departing.whole, departing.steps) == (10, False, (0, 5, 10, 11))


def test_what_is_not_finite_is_infinitely_far():
    (departing,) = along((1, 2, np.nan))
    assert departing.first == 2
    assert departing.errors[2] == np.inf


def test_the_output_that_departs_first_comes_first():
    golden_case, actual = golden([(0, 5, 1.0)])
    late = [*actual[:1], ("h", np.ones((2, 2), np.float32))]
    assert [departing.output for departing in departure.along(SPEC, golden_case, late, ROW)] == [
        "y",
        "h",
    ]
    (_, h) = departure.along(SPEC, golden_case, late, ROW)
    assert (h.first, h.axis) == (None, None)


@pytest.mark.parametrize(
    ("places", "only"), [([(1, 8)], True), ([(1, 8), (0, 1)], False), ([(0, 8)], False)]
)
def test_it_is_told_where_only_padded_steps_depart(places, only):
    golden_case, actual = golden([(row, step, 1.0) for row, step in places])
    (departing,) = departure.along(SPEC, golden_case, actual, ROW)
    assert departure.only_padded(departing, golden_case, actual[0][1], SPEC) is only


def test_a_plot_has_a_column_for_each_step_and_the_tolerance():
    (departing,) = along((0, 3, 1e-1), (0, 4, 1e-3))
    rows = plot.lines(departing)
    assert sum("tolerance" in row for row in rows) == 1
    level = next(i for i, row in enumerate(rows) if "tolerance" in row)
    columns = [row.partition("┤")[2][:12] for row in rows[: plot.HEIGHT]]
    assert all(c[3] == "█" for c in columns[:level])
    assert columns[0][4] == " "
    assert columns[level][4] == "█"
    assert [c[0] for c in columns] == ["─" if row == level else " " for row in range(plot.HEIGHT)]
    assert "11 step of 'y'" in rows[-1]


def test_a_plot_of_many_steps_keeps_the_largest_of_each_column():
    (departing,) = along((0, 731, 0.5), length=1000)
    rows = plot.lines(departing)
    top = rows[0].partition("┤")[2]
    assert top.index("█") == 731 * plot.WIDTH // 1000
    assert top.count("█") == 1


def test_an_infinite_error_reaches_the_top_of_a_plot():
    (departing,) = along((0, 1, np.inf))
    assert plot.lines(departing)[0].partition("┤")[2][1] == "█"


def weights(rng, gates, parts=1, units=3, inputs=2):
    shape = (1, parts * gates * units, inputs) if parts == 1 else (1, parts * gates * units)
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("order", "sentence"),
    [("ofic", "o f i c"), ("iocf", "gates f and c exchanged"), ("ifco", "i f c o")],
)
def test_gates_in_another_order_are_recognised(order, sentence):
    good = weights(np.random.default_rng(1), 4)
    moved = good.reshape(1, 4, 3, 2)[:, ["iofc".index(g) for g in order]].reshape(good.shape)
    assert differences.gate_order(moved, good, "iofc", 1) == order
    assert sentence in differences._how(moved, good, "iofc", 1)
    assert differences.gate_order(good, good, "iofc", 1) == ""
    assert differences.gate_order(moved + 1, good, "iofc", 1) == ""


def test_halves_of_a_bias_are_recognised():
    good = weights(np.random.default_rng(2), 4, parts=2)
    half = good.shape[1] // 2

    def sentence(change):
        bias = good.copy()
        change(bias)
        return differences._how(bias, good, "iofc", 2)

    def dropped(bias):
        bias[:, :half] = 0

    def doubled(bias):
        bias[:, half:] *= 2

    def swapped(bias):
        bias[:] = np.roll(bias, half, axis=1)

    def moved(bias):
        bias[:, 0] += 1

    assert sentence(dropped) == "the input bias is missing (all 0)"
    assert sentence(doubled) == "the recurrent bias counts twice"
    assert "changed places" in sentence(swapped)
    assert sentence(moved).startswith("1 of 24 values")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (differences.float16, "float16"),
        (differences.bfloat16, "bfloat16"),
        (differences.tf32, "TF32"),
        (np.negative, "sign"),
        (lambda v: np.roll(v, 1, axis=0), "one late"),
        (np.transpose, "transposed"),
    ],
)
def test_what_happened_to_a_matrix_is_recognised(change, sentence):
    good = np.random.default_rng(3).normal(size=(4, 4)).astype(np.float32)
    assert sentence in differences._how(change(good), good, "", 0)


def chain(*operators, names=True):
    """x → operators in a row → y."""
    nodes = [
        helper.make_node(op, [f"t{i}" if i else "x"], [f"t{i + 1}"], f"n{i}" if names else "")
        for i, op in enumerate(operators)
    ]
    nodes[-1].output[0] = "y"
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", kind, ["n"])],
        [helper.make_tensor_value_info("y", kind, ["n"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"),
    [
        (["Abs", "Neg", "Exp"], ["Abs", "Neg", "Exp"], {0: 0, 1: 1, 2: 2}),
        (["Abs", "Sqrt", "Neg", "Exp"], ["Abs", "Neg", "Exp"], {0: 0, 2: 1, 3: 2}),
        (["Abs", "Exp"], ["Abs", "Neg", "Exp"], {0: 0, 1: 2}),
        (["Abs", "Relu", "Exp"], ["Abs", "Neg", "Exp"], {0: 0, 1: 1, 2: 2}),
        (["Neg", "Neg", "Neg"], ["Neg", "Neg", "Neg"], {0: 0, 1: 1, 2: 2}),
    ],
)
def test_nodes_without_names_are_aligned_by_what_is_around_them(ours, theirs, pairs):
    nets = [Net(chain(*ops, names=False)) for ops in (ours, theirs)]
    assert alignment.align(*nets) == pairs


def test_names_count_before_structure():
    ours, theirs = chain("Neg", "Neg"), chain("Neg", "Neg")
    ours.graph.node[0].name, ours.graph.node[1].name = "b", "a"
    theirs.graph.node[0].name, theirs.graph.node[1].name = "a", "b"
    assert alignment.align(Net(ours), Net(theirs)) == {0: 1, 1: 0}


def test_a_graph_that_fails_gives_what_came_before_and_the_node():
    model = chain("Abs", "Neg", "Exp")
    bad = helper.make_node("Reshape", ["t2", "size"], ["t3"], "bad")
    model.graph.node.insert(2, bad)
    model.graph.node[3].input[0] = "t3"
    model.graph.initializer.append(numpy_helper.from_array(np.array([7]), "size"))
    tensors, failed = values.Exact(Net(model)).all({"x": np.float32([1, -2])})
    assert failed.node == 2
    assert tensors["t2"].tolist() == [-1, -2]
    assert "t3" not in tensors
    tensors, failed = values.Exact(Net(model)).all({"x": np.ones(7, np.float32)})
    assert failed is None
    assert tensors["y"] == pytest.approx(np.exp(-np.ones(7)), rel=1e-14)


def test_one_node_is_evaluated_on_what_it_is_given():
    exact = values.Exact(Net(chain("Abs", "Neg", "Exp")))
    assert exact.node(1, {"t1": np.float32([5])})["t2"].tolist() == [-5]


@pytest.mark.parametrize(
    ("actual", "expected", "size"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([np.nan], [np.nan], 0),
        ([np.nan], [1.0], np.inf),
        ([np.inf], [np.inf], 0),
        ([1.0], [[1.0]], np.inf),
        ([True], [1], np.inf),
        ([True, False], [True, True], 1),
    ],
)
def test_how_far_two_tensors_are_apart(actual, expected, size):
    assert values.apart(np.array(actual), np.array(expected)) == size


class Judge:
    """A probe that fails at cases that a rule names, and counts them."""

    def __init__(self, rule, spec=SPEC, complete=True):
        self.rule, self.tried = rule, 0
        self.job = type("W", (), {"golden": type("G", (), {"spec": spec})})
        self.reference = type("R", (), {"complete": complete or None, "source": "a rule"})

    def fails(self, case):
        self.tried += 1
        return self.rule(case)


def find(rule, *golden_cases):
    bad = [case for case in golden_cases if rule(case)]
    return shortest.search(bad, Judge(rule)).case


def at(length, batch=1, kind=Raggedness.NONE):
    return Case({"steps": length}, batch, kind)


@pytest.mark.parametrize("length", [1, 2, 9, 15, 16, 17, 40, 63, 64])
def test_the_shortest_length_is_found_between_golden_ones(length):
    smallest = find(lambda case: case.lengths["steps"] >= length, at(1), at(16), at(64), at(100))
    assert smallest == at(length)


def test_a_length_that_fails_alone_is_found_where_every_one_is_tried():
    assert find(lambda c: c.lengths["steps"] % 7 == 0, at(49), at(700)) == at(7)


def test_the_smallest_batch_and_the_padding_that_it_needs_are_found():
    def ragged(case):
        return case.raggedness is Raggedness.LEFT and case.batch >= 2

    assert find(ragged, at(33, 3, Raggedness.LEFT)) == at(2, 2, Raggedness.LEFT)
    assert find(lambda case: case.batch >= 5, at(9, 8)) == at(1, 5)


def test_both_lengths_become_small():
    spec = ModelSpec("m", "", (TensorSpec("a", "int32", ("batch", "p")),), (), "m")

    def rule(case):
        return case.lengths["p"] >= 4 and case.lengths["q"] >= 2

    (start,) = [Case({"p": 50, "q": 9}, 2)]
    smallest = shortest.search([start], Judge(rule, spec)).case
    assert smallest == Case({"p": 4, "q": 2}, 1)


def test_without_a_reference_the_shortest_golden_case_it_is():
    judge = Judge(lambda case: True, complete=False)
    smallest = shortest.search([at(9), at(5, 2), at(5, 3)], judge)
    assert smallest.case == at(5, 2)
    assert "golden cases only" in smallest.how
    assert judge.tried == 0


def test_a_part_of_a_graph_runs_alone():
    net = Net(chain("Abs", "Neg", "Exp"))
    cut = extract.part(net, [1], ["t2"], {})
    onnx.checker.check_model(cut, full_check=True)
    assert [v.name for v in cut.graph.input] == ["t1"]
    assert [d.dim_param for d in cut.graph.input[0].type.tensor_type.shape.dim] == ["n"]
    tensors, _ = values.Exact(Net(cut)).all({"t1": np.float32([3])})
    assert tensors["t2"].tolist() == [-3]
    assert extract.fed(cut, {"t1": np.array([3.0])})["t1"].dtype == np.float32
    two = extract.part(net, [0, 1], ["t2"], {})
    onnx.checker.check_model(two, full_check=True)
    assert [v.name for v in two.graph.input] == ["x"]


def example(**changes):
    expected = {"y": np.array([1.0, 2.0])}
    fields = {"model": chain("Abs"), "inputs": {"x": np.float32([1, 2])}, "expected": expected}
    return Example(**{**fields, "tolerance": {"y": 1e-6}, "what": "", **changes})


def test_errors_are_those_of_the_stored_steps():
    last_step = example(expected={"y": np.array([2.0])}, steps={"y": (0, np.array([1]))})
    assert errors(last_step, {"y": np.float32([5, 2])}) == {"y": 0}
    assert errors(last_step, {"y": np.float32([5, 3])}) == {"y": 1}
    assert errors(example(), {"y": np.float32([1])}) == {"y": np.inf}


@pytest.mark.parametrize(
    ("message", "reason", "shown"),
    [
        ("Softmax node 3: axis 7 is not there", "Softmax node 12: axis 2 is not there", True),
        ("the input cannot be given", "Softmax node 12: axis 2 is not there", False),
        ("the input cannot be given", "", False),
    ],
)
def test_a_part_that_fails_for_another_reason_shows_nothing(tmp_path, message, reason, shown):
    class Failing:
        def prepare(self, path):
            raise LoadError(message)

    assert examples.departs(example(), Failing(), tmp_path, reason) is shown


@pytest.mark.parametrize("runtime", ["ort-cpu", "ort-cuda", "openvino", "onnx-reference", "tract"])
@pytest.mark.parametrize("more", [{}, {"before": {"x": np.float32([1])}}, {"steps": True}])
def test_every_script_is_python_of_few_lines(runtime, more):
    if "steps" in more:
        more = {"steps": {"y": (0, np.array([1]))}}
    text = script(load(runtime).loader(NONE), example(**more))
    ast.parse(text)
    assert len(text.splitlines()) <= 32
    assert max(map(len, text.splitlines())) <= 120
    assert ("before.npz" in text) is ("before" in more)


def test_any_name_of_a_tensor_can_be_stored(tmp_path):
    odd = {"file": np.float32([1]), "a/b:0": np.float32([2]), "allow_pickle": np.float32([3])}
    write(tmp_path / "it", by_harness("ort-cpu"), example(inputs=odd), {"a.md": "text"})
    read = dict(np.load(tmp_path / "it" / "inputs.npz"))
    assert {name: value.tolist() for name, value in read.items()} == {
        name: value.tolist() for name, value in odd.items()
    }
    assert (tmp_path / "it" / "a.md").read_text() == "text"


@pytest.mark.parametrize("text", ["::error::", "\n```\n<script>", "\x1b[2K*a* [b](c)", "\u202e|`"])
def test_names_in_a_file_are_shown_and_not_obeyed(text):
    case = Case({text: 7}, 3)
    depart = departure.Along(case, text, 1, 1e-7, 1.0, (0, 1), (0.0, 1.0), 2, True)
    failing = Diagnosis(
        Cell(text, "torch", "native", "fp32", "ort-cpu"),
        Status.FAIL,
        Stage.COMPARE,
        text,
        judged=[case],
        failing=[case],
        shortest=shortest.Shortest(case, text),
        at=depart,
        along=depart,
        why=text,
        blame=Blame(0, text, text, 1.0, 1.0, text, differences=(text,)),
        notes=[text],
        guesses=[Guess(text, text, text, True)],
        example=Example(None, {"x": np.zeros(1)}, {}, {}, text),
    )
    lines = report.lines(failing)
    assert len(lines) > 15
    assert all(line.isprintable() and not line.lstrip().startswith("::") for line in lines)
    parts = report.markdown(failing).split("\n")
    fence = parts[2].removesuffix("text")
    assert parts[3:-2] == lines
    assert set(fence) == {"`"}
    assert [line for line in parts if line.startswith(fence)] == [parts[2], parts[-2]]
    issue = report.issue(failing, {"onnx": text, text: "1"}, text).split("\n")
    assert all(line.isprintable() for line in issue)
    assert not re.search(r"<|(?<!\\)[*\[]", "\n".join(issue))
    assert all(not line or line.startswith(("# ", "## ", "- ", "The attached")) for line in issue)
