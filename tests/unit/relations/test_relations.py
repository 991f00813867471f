"""Every relation holds of a right model, and each one is broken by a fault of its own."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from harness.core.axis_rules import AxisRule
from harness.core.errors import LoadError, RunError
from harness.core.registry import resolve
from harness.core.results import CaseResult, Cell, Status
from harness.core.schema import Case, GoldenCase, ModelSpec, Raggedness, Stage, TensorSpec
from harness.core.tolerance import Row, tolerance
from harness.goldens import store
from harness.graphs.edit import Edit
from harness.relations import RELATIONS, judge
from harness.relations.context import Context
from harness.relations.pieces import allowed, cuts
from harness.relations.poison import extreme, poison
from harness.relations.reversal import reverse
from harness.runtimes.onnx_reference import REFERENCE
from harness.runtimes.ort import CPU
from harness.validation import engine, pipeline
from tests.support import doubler, recurrence
from tests.support.jobs import ready

PLANTED = [
    ("rows-mixed", {"batch-rows", "padding"}),
    ("lengths-ignored", {"padding", "poison", "pieces"}),
    ("padding-summed", {"poison", "pieces"}),
    ("state-ignored", {"pieces"}),
    ("states-swapped", {"pieces"}),
    ("empty-row-reset", {"pieces"}),
]

ROW = Row(6.0, "as ort-cpu")


@pytest.fixture
def judged(tmp_path):
    """The results of relations on a graph in a runtime, by relation."""

    def run(model, runtime=recurrence.CLEAN, names=RELATIONS, cases=None):
        path = recurrence.record(tmp_path, model, cases)
        stored = store.read(tmp_path / "golden")
        every = stored.cases

        def one(name):
            session = runtime.prepare(str(path))
            return list(judge.judge(name, stored, every, path, ROW, runtime, session))

        return {name: one(name) for name in names}

    return run


def failing(results):
    return {name for name, cases in results.items() if any(c.status is Status.FAIL for c in cases)}


def test_every_relation_holds_of_the_clean_model(judged):
    results = judged(recurrence.graph())
    assert failing(results) == set()
    for name, cases in results.items():
        assert cases, name
        assert {case.relation for case in cases} == {name}
        assert {o.name for case in cases for o in case.outputs} == {"y", "h", "c"}
        assert all(len(case.outputs) == 3 and case.stage is Stage.COMPARE for case in cases)


def test_what_padded_steps_repeat_may_lie_in_an_earlier_piece(judged):
    assert failing(judged(recurrence.graph(repeats=True))) == set()


def test_the_longest_row_is_padded_too(judged):
    case = Case({"sequence": 7}, 1)
    results = judged(recurrence.graph("lengths-ignored"), names=["padding"], cases=[case])
    assert failing(results) == {"padding"}


@pytest.mark.parametrize(("fault", "broken"), PLANTED, ids=[fault for fault, _ in PLANTED])
def test_a_fault_in_the_graph_breaks_its_relations(judged, fault, broken):
    results = judged(recurrence.graph(fault))
    assert failing(results) == broken
    for name in broken:
        bad = [case for case in results[name] if case.status is Status.FAIL]
        assert all(case.reason.startswith(f"relation {name}: output ") for case in bad)
        assert all(case.stage is Stage.COMPARE for case in bad)
        assert "times the tolerance" in bad[0].reason


@pytest.mark.parametrize(
    ("runtime", "broken"),
    [
        (recurrence.FORGETS_DIRECTION, {"reversal"}),
        (recurrence.LEAKS, {"fresh-session"}),
        (recurrence.WAVERS, {"run-twice"}),
    ],
    ids=["forgets-direction", "leaks", "wavers"],
)
def test_a_fault_of_the_runtime_breaks_its_relation(judged, runtime, broken):
    assert failing(judged(recurrence.graph(), runtime)) == broken


def test_a_single_bit_breaks_what_has_to_be_exact(judged):
    results = judged(recurrence.graph(), recurrence.WAVERS, ["run-twice"])
    assert all("1 of " in case.reason for case in results["run-twice"])
    assert "values are not the same bits" in results["run-twice"][0].reason
    assert {o.tolerance for case in results["run-twice"] for o in case.outputs} == {0.0}


def test_outputs_in_memory_that_is_used_again_do_not_hide_a_difference(judged):
    results = judged(recurrence.graph(), recurrence.REUSES, ["run-twice"])
    assert failing(results) == {"run-twice"}


def test_a_model_without_padding_or_state_or_recurrence_has_few_relations(tmp_path):
    doubler.record(tmp_path / "golden")
    onnx.save(doubler.graph(), tmp_path / "model.onnx")
    stored, session = store.read(tmp_path / "golden"), CPU.prepare(str(tmp_path / "model.onnx"))
    applying = {
        name
        for name in RELATIONS
        if list(judge.judge(name, stored, stored.cases, tmp_path / "model.onnx", ROW, CPU, session))
    }
    assert applying == {"batch-rows", "fresh-session", "run-twice"}


def test_rows_decide_over_an_axis_that_only_outputs_have(tmp_path):
    """An output as long as the longest row is shorter where a row is alone."""
    doubler.record(tmp_path / "golden")
    stored = store.read(tmp_path / "golden")
    y = replace(stored.spec.outputs[0], axes=("batch", "y_steps", 3))
    spec, notes = replace(stored.spec, outputs=(y,)), []
    stored = replace(stored, spec=spec)
    onnx.save(doubler.graph(), tmp_path / "model.onnx")
    path = tmp_path / "model.onnx"
    session = CPU.prepare(str(path))
    judging = judge.judge("batch-rows", stored, stored.cases, path, ROW, CPU, session, notes.append)
    assert not list(judging)
    assert notes == ["output y has an axis y_steps, whose size other rows may decide"]


def test_two_runs_may_differ_by_twice_the_tolerance_of_one(judged):
    (case,) = [c for c in recurrence.CASES if c.lengths["sequence"] == 7]
    (result,) = judged(recurrence.graph(), names=["batch-rows"], cases=[case])["batch-rows"]
    y = next(o for o in result.outputs if o.name == "y")
    single = tolerance(ROW, recurrence.NOISE, 0.5)
    assert y.noise_floor == 2 * recurrence.NOISE
    assert y.tolerance == pytest.approx(2 * single)


def test_padding_is_put_where_the_model_is_recorded_with_it(judged, tmp_path):
    only_right = judged(recurrence.graph(), names=["padding"])
    assert failing(only_right) == set()
    left = [*recurrence.CASES, Case({"sequence": 5}, 2, Raggedness.LEFT)]
    results = judged(recurrence.graph(), names=["padding"], cases=left)
    assert failing(results) == {"padding"}
    bad = [case for case in results["padding"] if case.status is Status.FAIL]
    assert all("padded left: " in case.reason for case in bad)


def test_pieces_are_told_by_their_cut(judged):
    results = judged(recurrence.graph("state-ignored"), names=["pieces"])["pieces"]
    hows = {c.reason.split("output ")[1].split(": ")[1] for c in results if c.reason}
    assert {"first step alone", "last step alone", "halves", "single steps"} <= hows
    assert any(how.startswith("pieces of ") for how in hows)


@pytest.mark.parametrize("offset", [0, 1])
def test_a_cache_that_is_filled_in_pieces_is_the_whole_one(offset, tmp_path):
    """Each step gives the number of steps before it, of which it is told ``offset`` too many."""
    inputs = (
        TensorSpec("x", "float32", ("batch", "time")),
        TensorSpec("past", "float32", ("batch", "before")),
    )
    outputs = (
        TensorSpec("y", "float32", ("batch", "time")),
        TensorSpec("present", "float32", ("batch", "after")),
    )
    rules = {"before": AxisRule(most=8), "after": AxisRule(terms={"before": 1, "time": 1})}
    spec = ModelSpec("c", "", inputs, outputs, "c", states={"past": "present"}, rules=rules)

    def run(values):
        x, past = values["x"], values["past"]
        place = np.arange(x.shape[1]) + past.shape[1] + offset * (past.shape[1] > 2)
        return [("y", x * place), ("present", np.concatenate([past, x], axis=1))]

    def tried(before):
        case = Case(spec.fitted({"time": 5, "before": before}), 3)
        drawn = {t.name: np.ones(t.shape(3, case.lengths), np.float32) for t in inputs}
        golden = GoldenCase(case, drawn, {}, None, {})
        session = SimpleNamespace(run=run)
        context = Context(spec, tmp_path, None, session, [], frozenset(), _no_structure, tmp_path)
        return list(resolve(RELATIONS["pieces"])(context)(golden))

    pairs = tried(2)
    assert len(pairs) > 3
    for pair in pairs:
        same = all(np.array_equal(pair.expected[n], pair.actual[n]) for n in ("y", "present"))
        assert same == (offset == 0)
    assert tried(4) == []


def _no_structure(spec, golden, outputs):
    sizes = {name: value.shape for name, value in outputs}
    wanted = {t.name: t.shape(golden.case.batch, golden.case.lengths) for t in spec.outputs}
    return "" if sizes == wanted else f"{sizes}, expected {wanted}"


def test_a_run_that_fails_is_a_failing_case_and_the_others_go_on(judged):
    results = judged(recurrence.graph(), recurrence.REFUSES, ["batch-rows"])["batch-rows"]
    bad = [case for case in results if case.status is Status.FAIL]
    assert len(bad) == 1 < len(results)
    assert bad[0].stage is Stage.RUN
    assert bad[0].reason == "relation batch-rows: a batch of one"
    assert bad[0].case.lengths == {"sequence": 7}


def test_outputs_of_a_wrong_shape_are_told_before_values(judged):
    results = judged(recurrence.graph(), recurrence.LOSES_THE_BATCH, ["batch-rows"])["batch-rows"]
    assert {case.status for case in results} == {Status.FAIL}
    assert {case.stage for case in results} == {Stage.COMPARE}
    assert "output y has shape (1, 3), expected (1, 1, 3)" in results[0].reason


def test_a_derived_graph_that_cannot_be_loaded_fails_once(judged):
    class Refusing(recurrence.Runtime):
        def prepare(self, path):
            if Path(path).stem == "derived":
                raise judge.StageError("no")
            return super().prepare(path)

    results = judged(recurrence.graph(), Refusing(), ["reversal"])["reversal"]
    assert [(c.status, c.reason) for c in results] == [(Status.FAIL, "relation reversal: no")]


@pytest.mark.parametrize(
    ("error", "status", "stage"),
    [
        (LoadError("no"), Status.FAIL, Stage.LOAD),
        (RunError("no"), Status.FAIL, Stage.RUN),
        (RunError("gone", crashed=True), Status.ERROR, Stage.RUN),
        (LoadError("std::bad_alloc"), Status.ERROR, Stage.LOAD),
        (ZeroDivisionError("a bug"), Status.ERROR, Stage.RUN),
        (MemoryError(), Status.ERROR, Stage.RUN),
    ],
)
def test_only_what_a_stage_refuses_is_a_failure(judged, error, status, stage):
    class Raising(recurrence.Runtime):
        def prepare(self, path):
            if Path(path).stem == "derived":
                raise error
            return super().prepare(path)

    (result,) = judged(recurrence.graph(), Raising(), ["reversal"])["reversal"]
    assert (result.status, result.stage) == (status, stage)
    assert result.reason.startswith("relation reversal: ")


@pytest.mark.parametrize(
    ("golden_stage", "relation", "verdict"),
    [
        (Stage.RUN, (Status.FAIL, Stage.LOAD), (Status.FAIL, Stage.RUN)),
        (None, (Status.FAIL, Stage.LOAD), (Status.FAIL, Stage.LOAD)),
        (Stage.RUN, (Status.ERROR, Stage.LOAD), (Status.ERROR, Stage.LOAD)),
        (Stage.RUN, (Status.PASS, Stage.COMPARE), (Status.FAIL, Stage.RUN)),
    ],
)
def test_a_relation_decides_the_stage_only_where_golden_cases_pass(golden_stage, relation, verdict):
    case = Case({"sequence": 1}, 1)
    failed = CaseResult(case, Status.FAIL, golden_stage, "why") if golden_stage else None
    results = (
        failed or CaseResult(case, Status.PASS, Stage.COMPARE),
        CaseResult(case, *relation, "relation", relation="reversal"),
    )
    result = engine._verdict(Cell("m", "torch", "native", "fp32", "r"), {}, results)
    assert (result.status, result.stage) == verdict


def test_the_spread_has_the_wanted_lengths_and_every_raggedness():
    lengths = (1, 2, 3, 7, 20, 33, 60, 128, 500, 513, 4096)
    cases = [Case({"a": n, "b": 1}, batch) for n in lengths for batch in (1, 3)]
    cases += [Case({"a": 33, "b": 1}, 2, kind) for kind in Raggedness]
    chosen = judge.spread(cases)
    assert [c.lengths["a"] for c in chosen] == [1, 2, 7, *[33] * 5, 128, 513]
    assert all(c.batch == 3 for c in chosen if c.raggedness is Raggedness.NONE)
    assert [c.lengths["a"] for c in judge.spread([Case({"a": 4096}, 1)])] == [4096]


def test_the_spread_has_cases_with_and_without_an_axis_of_no_steps():
    sizes = ((0, 7, 1), (0, 7, 2), (3, 4, 5), (3, 4, 1), (6, 1, 9))
    cases = [Case({"past": past, "time": time, "all": 7}, batch) for past, time, batch in sizes]
    assert [(c.lengths["past"], c.batch) for c in judge.spread(cases)] == [(0, 2), (3, 5)]


@pytest.mark.parametrize("steps", [2, 3, 5, 33, 128, 129, 2049])
def test_cuts_cover_the_sequence_and_differ(steps):
    ways = list(cuts(steps).values())
    assert len(set(ways)) == len(ways)
    assert all(sum(sizes) == steps and min(sizes) >= 1 for sizes in ways)
    assert (1, steps - 1) in ways
    assert (steps - 1, 1) in ways
    assert ((1,) * steps in ways) == (steps <= 128)
    assert len(ways) >= (1 if steps == 2 else 3 if steps < 6 else 5 if steps > 128 else 6)


def test_pieces_follow_the_rule_of_their_axis():
    assert allowed(AxisRule(), 9) == cuts(9)
    ways = allowed(AxisRule(4), 16)
    assert ways["first step alone in units of 4"] == (4, 12)
    assert ways["single steps in units of 4"] == (4, 4, 4, 4)
    assert {*allowed(AxisRule(1, 3, 8), 9).values()} <= {(4, 5), (3, 6), (5, 4), (6, 3), (3, 3, 3)}
    assert allowed(AxisRule(1, 3, 8), 9)["halves"] == (4, 5)
    assert allowed(AxisRule(1, 8, 20), 9) == {}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8])
def test_extremes_are_large_and_finite(dtype):
    values = extreme(np.zeros(5, dtype))
    assert values.dtype == dtype
    assert np.isfinite(values.astype(np.float64)).all()
    assert np.abs(values.astype(np.float64)).min() >= (100 if dtype is np.int8 else 15)
    assert (np.sign(values.astype(np.float64)) == [1, -1, 1, -1, 1]).all()


def lookups():
    """Two lookups of ids in a tied table, one reordered first, and one of positions."""
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Constant", [], ["other"], value=numpy_helper.from_array(np.ones((9, 2), "f4"))),
            node("ReverseSequence", ["ids", "lens"], ["turned"], batch_axis=0, time_axis=1),
            node("Gather", ["tied", "turned"], ["a"]),
            node("Gather", ["other", "ids"], ["b"]),
            node("CumSum", ["ids", "one"], ["places"]),
            node("Gather", ["tied", "places"], ["c"]),
            node("Gather", ["tied", "ids"], ["d"], axis=1),
            node("MatMul", ["a", "tied"], ["e"]),
        ],
        "lookups",
        [],
        [],
        [numpy_helper.from_array(np.ones((9, 2), "f4"), "tied")],
    )
    return Edit(helper.make_model(graph))


def reading(name, low=1, padding=0):
    """A specification whose ids are eight of the table's nine, or less."""
    ids = TensorSpec(name, "int64", ("batch", "steps"), low, 8)
    return ModelSpec("m", "", (ids,), (), "m", padded=name, padding=padding)


def test_only_lookups_of_ids_are_poisoned():
    edit = lookups()
    assert poison(edit, reading("ids")) == 2
    graph = edit.done().graph
    tables = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    assert (tables["tied"] == 1).all()
    read = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Gather"}
    assert (read["c"], read["d"]) == ("tied", "tied")
    for output in "ab":
        assert np.abs(tables[read[output]][0]).min() > 1e9
        assert (tables[read[output]][1:] == 1).all()
    assert poison(lookups(), reading("something else")) == 0
    assert poison(lookups(), doubler.SPEC) == 0


@pytest.mark.parametrize(
    ("padding", "low", "row"),
    [(0, 1, 0), (8, 0, 8), (-1, 0, 8), (-2, 0, None), (9, 0, None), (-10, 0, None), (0, -9, None)],
)
def test_the_row_of_the_padding_alone_is_poisoned(padding, low, row):
    edit = lookups()
    assert poison(edit, reading("ids", low, padding)) == (0 if row is None else 2)
    for tensor in edit.done().graph.initializer[1:]:
        changed = np.abs(numpy_helper.to_array(tensor)).max(axis=1) > 1e9
        assert np.flatnonzero(changed).tolist() == [row]


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(kind, direction, lens, layout=0, last_only=False):
    """A graph of one recurrent node with everything it takes, and inputs for it."""
    rng = np.random.default_rng(5)
    directions, batch, steps, features, units = 2 if direction == "bidirectional" else 1, 3, 5, 2, 4
    gates = GATES[kind]

    def draw(*shape):
        return rng.uniform(-1, 1, shape).astype(np.float32)

    def first(shape):
        return (shape[1], shape[0], *shape[2:]) if layout else shape

    kept = {
        "W": draw(directions, gates * units, features),
        "R": draw(directions, gates * units, units),
        "B": draw(directions, 2 * gates * units),
        "lens": np.array([5, 1, 3], np.int32),
        "h0": draw(*first((directions, batch, units))),
        "c0": draw(*first((directions, batch, units))),
        "P": draw(directions, 3 * units),
    }
    names = ["x", "W", "R", "B", "lens" if lens else "", "h0"]
    names += ["c0", "P"] if kind == "LSTM" else []
    outputs = ["Y", "Y_h", *(["Y_c"] if kind == "LSTM" else [])]
    options = {"layout": layout} if layout else {}
    if kind != "LSTM" and directions == 2 and not layout:
        one = ["Sigmoid", "Tanh"] if kind == "GRU" else ["LeakyRelu"]
        second = ["HardSigmoid", "Softsign"] if kind == "GRU" else ["Affine"]
        options |= {"activations": one + second, "activation_beta": [0.125]}
        options |= {"activation_alpha": [0.25] if kind == "GRU" else [0.5, 0.25]}
    shown = outputs[1:] if last_only else outputs
    node = helper.make_node(
        *(kind, names, ["" if o not in shown else o for o in outputs]),
        **{"hidden_size": units, "direction": direction, **options},
    )
    model = helper.make_model(
        helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info("x", 1, first((steps, batch, features)))],
            [helper.make_tensor_value_info(o, 1, [None] * (4 if o == "Y" else 3)) for o in shown],
            [numpy_helper.from_array(v, k) for k, v in kept.items() if k in names],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    model.ir_version = 8
    return model, {"x": draw(*first((steps, batch, features)))}


def outputs_of(runtime, model, folder, inputs):
    onnx.save(model, folder / "one.onnx")
    return runtime.prepare(str(folder / "one.onnx")).run(inputs)


def same_when_reversed(runtime, model, folder, inputs):
    before = outputs_of(runtime, model, folder, inputs)
    directions = [a.s for n in model.graph.node for a in n.attribute if a.name == "direction"]
    edit = Edit(model)
    assert reverse(edit) == 1
    model = edit.done()
    onnx.checker.check_model(model, full_check=True)
    turned = [a.s for n in model.graph.node for a in n.attribute if a.name == "direction"]
    assert (turned != directions) == (b"bidirectional" not in directions)
    after = outputs_of(runtime, model, folder, inputs)
    assert [name for name, _ in after] == [name for name, _ in before]
    for (_, value), (_, mirrored) in zip(before, after, strict=True):
        np.testing.assert_allclose(value, mirrored, rtol=0, atol=1e-6)
        assert np.ptp(value) > 0.1


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("lens", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_a_node_turned_around_computes_the_same(kind, direction, lens, last_only, tmp_path):
    model, inputs = recurrent(kind, direction, lens, last_only=last_only)
    same_when_reversed(CPU, model, tmp_path, inputs)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_a_node_with_the_batch_first_is_turned_around_too(direction, tmp_path):
    model, inputs = recurrent("LSTM", direction, False, layout=1)
    same_when_reversed(REFERENCE, model, tmp_path, inputs)


def test_a_node_with_the_batch_first_is_reversed_within_its_lengths():
    edit = Edit(recurrent("LSTM", "forward", True, layout=1)[0])
    assert reverse(edit) == 1
    model = edit.done()
    reversals = [node for node in model.graph.node if node.op_type == "ReverseSequence"]
    axes = [{a.name: a.i for a in node.attribute} for node in reversals]
    assert axes == [{"time_axis": 1, "batch_axis": 0}] * 2
    onnx.checker.check_model(model, full_check=True)


def test_every_relation_is_documented():
    text = (Path(__file__).parents[3] / "docs/relations.md").read_text()
    for name, target in RELATIONS.items():
        assert callable(resolve(target))
        assert f"`{name}`" in text


def test_a_relation_is_told_to_apply_nowhere_only_by_cells_that_ran():
    tried = [SimpleNamespace(relation=""), SimpleNamespace(relation="padding")]
    left_out = {"relations_left_out": {"pieces": "no states"}}
    ran = SimpleNamespace(cases=tried, evidence=left_out)
    failed_before = SimpleNamespace(cases=[], evidence={})
    first = ready(None, None, None, cases=(), relations=("padding", "pieces"))
    second = ready(None, None, None, cases=(), relations=("poison",))
    prepared = pipeline.Prepared([first, second])
    report = SimpleNamespace(results=[ran, failed_before])
    assert pipeline.without_a_case(prepared, report) == {"pieces": "no states"}
