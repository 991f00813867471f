"""Planted defects are named: the node, the step, the shortest length; and the folder shows them."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness import diagnose
from harness.defects.defect import Subject
from harness.diagnosis import examine, report, reproduction, values, wrong_runtime
from harness.diagnosis.net import Net
from harness.diagnosis.reference import Reference
from harness.diagnosis.reference import of as reference_of
from harness.errors import ExportError, LoadError, RunError, UsageError
from harness.mutation import study
from harness.runtimes import RUNTIMES, load
from tests.support import diagnosed
from tests.support.diagnosed import ONE_THREAD, Truth

GRU, BI, LM, SE = (
    ("gru_tagger", "torch"),
    ("bidirectional_tagger", "torch"),
    ("language_model", "torch"),
    ("sequence_encoder", "keras"),
)
ENCODER = "sequence_encoder_1/encoder_lstm_1"
TABLE = [
    (*GRU, "gates-swapped", "GRU 0 z/r", "GRU 'gru.l0_forward'", "gate order"),
    (*GRU, "input-bias-dropped", "GRU 0", "GRU 'gru.l0_forward'", "missing bias"),
    (*GRU, "recurrent-bias-doubled", "GRU 0", "GRU 'gru.l0_forward'", "bias"),
    (*GRU, "recurrent-weights-transposed", "GRU 0", "GRU 'gru.l0_forward'", "transposed weights"),
    (*GRU, "linear-before-reset-flipped", "GRU 0", "GRU 'gru.l0_forward'", "reset gate"),
    (*GRU, "direction-flipped", "GRU 0", "GRU 'gru.l0_forward'", "direction"),
    (*GRU, "gates-as-hard-sigmoid", "GRU 0 0.2", "GRU 'gru.l0_forward'", "activation"),
    (*GRU, "tanh-in-cell-as-relu", "GRU 0", "GRU 'gru.l0_forward'", "activation"),
    (*GRU, "gates-clipped", "GRU 0", "GRU 'gru.l0_forward'", "clip"),
    (*GRU, "initial-state-baked", "GRU 0 h", "", "initial state"),
    (*GRU, "mask-ignored", "mask of tokens", "", "mask ignored"),
    (*GRU, "mask-inverted", "mask of tokens", "", ""),
    (*GRU, "mask-reversed", "mask of tokens", "", "mask ignored"),
    (*GRU, "gaps-filled", "mask of tokens", "", "mask ignored"),
    (*GRU, "last-valid-step-dropped", "mask of tokens", "", ""),
    (*GRU, "padded-steps-repeated", "mask of tokens", "Add 'node_add_77'", "mask ignored"),
    (*GRU, "length-baked", "ConstantOfShape 0 input 0", "", ""),
    (*GRU, "batch-baked", "Range 1 input 1", "", ""),
    (*GRU, "transpose-omitted", "Transpose 0", "Identity 'node_transpose'", "axes confused"),
    (*GRU, "steps-late", "GRU 0", "", ""),
    (*GRU, "rows-reversed", "GRU 0", "", ""),
    (*GRU, "softmax-over-another-axis", "Softmax 0 axis 1", "Softmax 'node_softmax'", ""),
    (*GRU, "softmax-as-sigmoid", "Softmax 0", "Sigmoid 'node_softmax'", ""),
    (*GRU, "dense-bias-dropped", "MatMul 0", "Identity 'node_linear'", ""),
    (*GRU, "dense-rows-swapped", "MatMul 0 input 1", "MatMul 'node_MatMul_41'", ""),
    (*GRU, "embedding-rows-shifted", "Gather 0 input 0", "Gather 'node_embedding'", ""),
    (*GRU, "weights-as-bfloat16", "recurrent", "GRU 'gru.l0_forward'", "reduced precision"),
    (*GRU, "output-rounded", "probabilities", "", ""),
    (*GRU, "wrong-at-last-step", "probabilities", "", ""),
    (*GRU, "wrong-for-larger-batches", "probabilities", "", ""),
    (*BI, "direction-flipped", "LSTM 1", "LSTM 'lstm.l0_reverse'", "direction"),
    (*BI, "weights-of-another-layer", "LSTM 0 and 1", "", ""),
    (*BI, "mask-unknown-to-one-direction", "Concat 1 input 0", "", "mask ignored"),
    (*LM, "gates-swapped", "LSTM 1 o/c", "LSTM 'lstm.l1_forward'", "gate order"),
    (*LM, "initial-h-and-c-swapped", "LSTM 1", "LSTM 'lstm.l1_forward'", "initial state"),
    (*LM, "sequence-lens-dropped", "LSTM 0", "LSTM 'lstm.l0_forward'", "mask ignored"),
    (*LM, "hidden-state-for-cell-state", "LSTM 0", "Squeeze 'node_squeeze_2'", ""),
    (*LM, "state-not-updated", "h_1", "Identity 'planted_2'", ""),
    (*SE, "cell-state-for-hidden-state", "LSTM 0", f"Squeeze '{ENCODER}/Squeeze_1'", ""),
    (*SE, "state-one-step-old", "LSTM 0", "", ""),
    (*SE, "steps-reversed", "LSTM 0", "", ""),
    (*SE, "peepholes-added", "LSTM 0", f"LSTM '{ENCODER}/LSTM'", "peepholes"),
]
"""Model, framework, defect, where it is planted, the node that is to be named where only one was
changed, and the pattern that is to be recognised."""


def planted(tmp_path, model, framework, kind, place):
    path = tmp_path / "planted.onnx"
    made = diagnosed.mutant(model, framework, kind, place)
    onnx.save_model(made.model, path)
    return path


def examined(path, model, framework, good=True, runtime=ONE_THREAD, label="ort-cpu"):
    right = diagnosed.right(model, framework) if good else None
    return examine.cell(diagnosed.work(model, framework, path, label), runtime, right)


@pytest.mark.parametrize(
    ("model", "framework", "kind", "place", "node", "pattern"),
    TABLE,
    ids=["-".join(row[:4]).replace(" ", "_").replace("/", "") for row in TABLE],
)
def test_a_planted_defect_is_named(tmp_path, model, framework, kind, place, node, pattern):
    path = planted(tmp_path, model, framework, kind, place)
    found = examined(path, model, framework)
    truth = Truth.of(model, framework, path)
    # the node
    mutated = onnx.load(path)
    touched = diagnosed.changed(mutated, onnx.load(diagnosed.right(model, framework)))
    assert found.fault == "graph"
    assert found.blame is not None
    assert found.blame.certain
    assert found.blame.node in touched
    assert (len(touched) == 1) <= bool(node)
    assert not node or found.blame.label == node
    # the shortest length
    assert max(found.shortest.case.lengths.values()) == truth.shortest()
    # the step
    reference = reference_of(diagnosed.stored(model, framework))
    for along, case in ((found.at, found.shortest.case), (found.along, None)):
        if along is not None:
            inputs = reference.case(case or along.case).inputs
            assert along.first == truth.first_step(inputs, along.case.lengths)
    if found.at is None:
        inputs = reference.case(found.shortest.case).inputs
        assert truth.errors(inputs, found.shortest.case.lengths) is None
    # what it looks like, and what shows it alone
    assert pattern in ("", *(guess.pattern for guess in found.guesses))
    assert found.example is not None
    assert len(found.example.model.graph.node) <= len(mutated.graph.node)


def test_the_table_has_enough_kinds():
    assert len({kind for _, _, kind, *_ in TABLE}) >= 30
    assert {kind for _, _, kind, *_ in TABLE} <= study.defects().keys()


def renamed(model):
    """The same graph with other names for its nodes and tensors, its nodes in another order."""
    names = {v.name: v.name for v in (*model.graph.input, *model.graph.output)}

    def new(name):
        return names.setdefault(name, f"t{len(names) * 7919 % 10007}") if name else ""

    for tensor in model.graph.initializer:
        tensor.name = new(tensor.name)
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number * 31 % 997}" if number % 3 else ""
        node.input[:] = map(new, node.input)
        node.output[:] = map(new, node.output)
    del model.graph.value_info[:]
    waiting, ready, nodes = list(model.graph.node), set(names.values()), []
    ready -= {name for node in waiting for name in node.output}
    while waiting:
        last = max(i for i, n in enumerate(waiting) if {x for x in n.input if x} <= ready)
        nodes.append(waiting.pop(last))
        ready |= set(nodes[-1].output)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


@pytest.mark.parametrize(
    ("kind", "place", "operator"),
    [
        ("gates-swapped", "GRU 0 z/h", "GRU"),
        ("softmax-as-sigmoid", "Softmax 0", "Sigmoid"),
        ("mask-ignored", "mask of tokens", "Or"),
        ("dense-rows-swapped", "MatMul 0 input 1", "MatMul"),
    ],
)
def test_the_node_is_found_in_a_graph_with_other_names(tmp_path, kind, place, operator):
    path = planted(tmp_path, *GRU, kind, place)
    onnx.save_model(renamed(onnx.load(path)), path)
    found = examined(path, *GRU)
    assert found.blame.certain
    model = onnx.load(path)
    touched = {model.graph.node[i].op_type for i in found.blame.nodes}
    assert operator in touched


class Faulty:
    """ONNX Runtime that plants a defect in whatever it loads: a right graph computed wrongly."""

    def __init__(self, kind, spec):
        (self.defect,) = study.defects([kind]).values()
        self.spec = spec

    def check(self):
        return None

    def version(self):
        return "1"

    def prepare(self, path):
        model = onnx.load(path)
        mutant = next(self.defect(Subject(model, self.spec)), None)
        if mutant is None:
            return ONE_THREAD.prepare(path)
        if mutant.wrap is not None:
            return mutant.wrap(ONE_THREAD.prepare(path))
        onnx.save_model(mutant.model, path + ".faulty")
        return ONE_THREAD.prepare(path + ".faulty")


@pytest.fixture
def copied(tmp_path):
    """The right graph where a faulty runtime can write beside it."""

    def copy(model, framework):
        path = tmp_path / "right.onnx"
        path.write_bytes(diagnosed.right(model, framework).read_bytes())
        return path

    return copy


@pytest.mark.parametrize(
    ("of", "kind", "operator", "pattern"),
    [
        (GRU, "linear-before-reset-flipped", "GRU", "reset gate"),
        (GRU, "gates-swapped", "GRU", "gate order"),
        (GRU, "softmax-as-sigmoid", "Softmax", None),
        (GRU, "weights-as-bfloat16", "Gather", "reduced precision"),
        (LM, "sequence-lens-dropped", "LSTM", "mask ignored"),
    ],
)
def test_a_runtime_at_fault_is_told_from_a_graph(copied, of, kind, operator, pattern):
    spec = diagnosed.stored(*of).spec
    found = examined(copied(*of), *of, good=False, runtime=Faulty(kind, spec), label="faulty")
    assert found.fault == "runtime"
    assert found.blame.label.startswith(operator)
    assert found.blame.certain
    confirmed = [guess.pattern for guess in found.guesses if guess.confirmed]
    assert confirmed == ([pattern] if pattern else [])
    assert [node.op_type for node in found.example.model.graph.node] == [operator]


def test_what_a_node_inherits_is_not_its_own(tmp_path):
    """The sum rounds, the difference shows it a thousandfold, and only the Softmax is wrong."""
    kind = TensorProto.FLOAT
    nodes = [
        helper.make_node("Add", ["x", "much"], ["sum"], "add"),
        helper.make_node("Sub", ["sum", "much"], ["rest"], "sub"),
        helper.make_node("Softmax", ["rest"], ["y"], "softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "cancelling",
        [helper.make_tensor_value_info("x", kind, ["n", 4])],
        [helper.make_tensor_value_info("y", kind, ["n", 4])],
        [numpy_helper.from_array(np.float32([3000]), "much")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    runtime = Faulty("softmax-as-sigmoid", diagnosed.stored(*GRU).spec)
    inputs = {"x": np.random.default_rng(1).uniform(0, 1, (3, 4)).astype(np.float32)}
    search = wrong_runtime.Search(Net(model), runtime, inputs, lambda outputs: True, tmp_path)
    blame, _ = search.first(["y"])
    assert blame.label == "Softmax 'softmax'"
    assert blame.certain
    seen = values.observed(Net(model), ["rest"], runtime, inputs, tmp_path)["rest"]
    assert np.abs(seen - inputs["x"]).max() > 10 * values.ROUNDING


def test_a_failure_is_traced_to_the_node_that_made_it(copied):
    """Without an exchange of time and batch a later node meets shapes that do not fit."""
    faulty = Faulty("transpose-omitted", diagnosed.stored(*GRU).spec)
    found = examined(copied(*GRU), *GRU, good=False, runtime=faulty, label="faulty")
    assert found.fault == "runtime"
    assert found.at is None
    assert found.blame.label == "Transpose 'node_transpose'"
    assert "what fails for it is" in found.blame.words
    assert [node.op_type for node in found.example.model.graph.node] == ["Transpose"]


def test_a_state_of_zeros_that_is_given_is_no_departure(tmp_path):
    """The good graph's GRU has no initial state, which is the same; the Softmax is wrong."""
    path = planted(tmp_path, *GRU, "softmax-as-sigmoid", "Softmax 0")
    model = onnx.load(path)
    (gru,) = [node for node in model.graph.node if node.op_type == "GRU"]
    for name, value in {"units": [36], "one": [1]}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    sizes = helper.make_node("Shape", [gru.input[0]], ["sizes"], start=1, end=2)
    shape = helper.make_node("Concat", ["one", "sizes", "units"], ["shape"], axis=0)
    zeros = helper.make_node("ConstantOfShape", ["shape"], ["zeros"])
    place = list(model.graph.node).index(gru)
    for node in (zeros, shape, sizes):
        model.graph.node.insert(place, node)
    model.graph.node[place + 3].input.extend(["", "zeros"])
    onnx.save_model(model, path)
    found = examined(path, *GRU)
    assert found.blame.label == "Sigmoid 'node_softmax'"


def test_the_reference_evaluator_ignores_sequence_lens_in_an_lstm(tmp_path):
    found = examined(
        diagnosed.right(*LM),
        *LM,
        good=False,
        runtime=load("onnx-reference"),
        label="onnx-reference",
    )
    assert found.fault == "runtime"
    assert found.blame.label == "LSTM 'lstm.l0_forward'"
    assert found.shortest.case.id == "sequence2-b1-right"
    (guess,) = [guess for guess in found.guesses if guess.confirmed]
    assert guess.pattern == "mask ignored"
    reproduction.write(tmp_path / "it", "onnx-reference", found.example, {})
    assert ended(tmp_path / "it") == 1


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("wrong-on-second-run", "sequence1-b1-none"),
        ("state-of-previous-run-leaks", "sequence1-b1-none"),
        ("wrong-after-a-longer-run", None),
    ],
)
def test_a_session_that_remembers_is_told_from_a_graph(copied, kind, after):
    faulty = Faulty(kind, diagnosed.stored(*GRU).spec)
    found = examined(copied(*GRU), *GRU, good=False, runtime=faulty, label="faulty")
    assert found.fault == "session"
    assert found.after.id == after if after else found.after is not None
    assert [guess.pattern for guess in found.guesses] == ["leaked state"]
    assert found.example.before is not None
    assert found.at.first == 0


class Tuned:
    """A runtime that is wrong unless it is set otherwise."""

    def __init__(self, wrong, right, tf32=False):
        self.wrong, self.right, self.tf32 = wrong, right, tf32

    def check(self):
        return None

    def configured(self, **settings):
        return ONE_THREAD if self.right(settings) else self

    def prepare(self, path):
        session = self.wrong.prepare(path)
        evidence = session.evidence
        session.evidence = lambda: {**evidence(), "tf32": self.tf32}
        return session


@pytest.mark.parametrize(
    ("right", "tf32", "pattern", "rests"),
    [
        (lambda s: s.get("provider") == {"use_tf32": "0"}, True, "TF32", "use_tf32=0"),
        (lambda s: s.get("provider") == {"use_tf32": "0"}, False, None, ""),
        (
            lambda s: s.get("optimization") in ("none", "basic"),
            False,
            "graph optimisation",
            "from level 'extended' on",
        ),
    ],
)
def test_a_setting_that_heals_is_the_cause(copied, right, tf32, pattern, rests):
    wrong = Faulty("softmax-with-temperature", diagnosed.stored(*GRU).spec)
    runtime = Tuned(wrong, right, tf32)
    found = examined(copied(*GRU), *GRU, good=False, runtime=runtime, label="tuned")
    confirmed = {guess.pattern: guess.rests_on for guess in found.guesses if guess.confirmed}
    assert [*confirmed] == ([pattern] if pattern else [])
    assert rests in "".join(confirmed.values())


class Refusing:
    """A runtime that does not load, or does not run, any graph with a node of one kind."""

    def __init__(self, operator, stage):
        self.operator, self.stage = operator, stage

    def check(self):
        return None

    def prepare(self, path):
        session = ONE_THREAD.prepare(path)
        if any(node.op_type == self.operator for node in onnx.load(path).graph.node):
            told = f"this runtime has no kernel for such a {self.operator}"
            if self.stage is LoadError:
                raise LoadError(told)
            session.run = self.refused(told)
        return session

    def refused(self, told):
        def run(inputs):
            raise RunError(told)

        return run


@pytest.mark.parametrize("stage", [LoadError, RunError])
@pytest.mark.parametrize(("operator", "label"), [("Softmax", "node_softmax"), ("Pad", "node_pad")])
def test_the_node_that_a_runtime_refuses_is_found(copied, stage, operator, label):
    runtime = Refusing(operator, stage)
    found = examined(copied(*GRU), *GRU, good=False, runtime=runtime, label="refusing")
    assert found.fault == "runtime"
    assert found.blame.label == f"{operator} '{label}'"
    assert [node.op_type for node in found.example.model.graph.node] == [operator]


def test_a_node_that_a_runtime_names_is_believed(copied):
    """It refuses every graph, so that cutting it would end at the first node."""
    told = "while 'gru.l0_forward' was translated: no such kernel"
    runtime = Refusing("Shape", RunError)
    runtime.refused = lambda _: Refusing.refused(runtime, told)
    found = examined(copied(*GRU), *GRU, good=False, runtime=runtime, label="refusing")
    assert found.blame.label == "GRU 'gru.l0_forward'"


def test_nodes_off_the_device_are_told_as_a_fallback(copied):
    told = "3 of 30 nodes not on CUDAExecutionProvider: GRU 'gru' on CPUExecutionProvider"
    runtime = Refusing("GRU", RunError)
    runtime.refused = lambda _: Refusing.refused(runtime, told)
    found = examined(copied(*GRU), *GRU, good=False, runtime=runtime, label="refusing")
    assert [(guess.pattern, guess.rests_on) for guess in found.guesses] == [("CPU fallback", told)]


def test_a_tensor_that_cannot_be_seen_makes_its_reader_uncertain(copied):
    """Where the GRU's output is an output of the graph, this runtime is right."""
    wrong = Faulty("gates-swapped", diagnosed.stored(*GRU).spec)

    class Shy(Faulty):
        def prepare(self, path):
            shown = {value.name for value in onnx.load(path).graph.output}
            return (ONE_THREAD if "getitem" in shown else wrong).prepare(path)

    found = examined(
        copied(*GRU), *GRU, good=False, runtime=Shy("gates-swapped", None), label="shy"
    )
    assert found.fault == "runtime"
    assert not found.blame.certain
    assert "getitem" in found.blame.words
    assert any("vanishes where one of these is an output: getitem" in n for n in found.notes)


def test_a_length_that_is_baked_in_is_recognised(tmp_path):
    path = planted(tmp_path, *SE, "length-baked-by-reshape", "LSTM 0")
    work = replace(diagnosed.work(*SE, path), example={"batch": 5, "sequence": 7})
    found = examine.cell(work, ONE_THREAD, diagnosed.right(*SE))
    assert found.blame.label.startswith("Reshape 'planted_")
    baked = [guess for guess in found.guesses if guess.pattern == "baked length"]
    assert [guess.confirmed for guess in baked] == [True]
    assert "sequence=7" in baked[0].words


def test_an_export_that_failed_has_no_graph_to_look_into():
    work = replace(diagnosed.work(*GRU, None), failure=ExportError("it cannot be traced"))
    found = examine.cell(work, ONE_THREAD)
    assert (found.stage.value, found.reason) == ("export", "it cannot be traced")
    assert "no graph" in "\n".join(report.lines(found))


def test_gates_in_another_order_are_recognised_without_a_good_graph(tmp_path):
    path = planted(tmp_path, *BI, "gates-swapped", "LSTM 1 o/f")
    found = examined(path, *BI, good=False)
    assert found.fault == "graph"
    assert found.blame.label == "LSTM 'lstm.l0_reverse'"
    assert any("no good graph" in note and "undone" in note for note in found.notes)
    (guess,) = found.guesses
    assert guess.confirmed
    assert guess.words == (
        "LSTM 'lstm.l0_reverse': its gates come in the order i f o c instead of i o f c"
    )


def test_what_is_no_known_mistake_is_open_without_a_good_graph(tmp_path):
    path = planted(tmp_path, *GRU, "softmax-as-sigmoid", "Softmax 0")
    found = examined(path, *GRU, good=False)
    assert found.fault == "graph"
    assert found.blame is None
    assert found.guesses == []
    assert any("no good graph" in note for note in found.notes)
    assert found.example.told.startswith("the whole model")


def test_two_defects_are_not_said_to_be_one(tmp_path):
    """The first is named; with it mended the golden is still not met, so nothing is confirmed."""
    path = planted(tmp_path, *GRU, "gates-swapped", "GRU 0 z/r")
    model = onnx.load(path)
    (bias,) = [t for t in model.graph.initializer if t.name == "probabilities.bias"]
    value = numpy_helper.to_array(bias).copy()
    value[0] += 1
    bias.CopyFrom(numpy_helper.from_array(value, bias.name))
    onnx.save_model(model, path)
    found = examined(path, *GRU)
    assert found.blame.label == "GRU 'gru.l0_forward'"
    assert [(g.pattern, g.confirmed) for g in found.guesses] == [("gate order", False)]


@pytest.mark.parametrize(
    ("kind", "place"),
    [("output-renamed", "probabilities"), ("output-retyped", "probabilities float64")],
)
def test_what_a_graph_declares_wrongly_is_the_graph_s_fault(tmp_path, kind, place):
    path = planted(tmp_path, *GRU, kind, place)
    found = examined(path, *GRU)
    assert found.stage.value == "check"
    assert found.fault == "graph"
    mutated = onnx.load(path)
    assert found.blame.node in diagnosed.changed(mutated, onnx.load(diagnosed.right(*GRU)))


def test_without_an_oracle_nothing_is_claimed_of_other_lengths(tmp_path, monkeypatch):
    """Some steps and some cases are stored, and neither weights nor a right graph are at hand."""
    path = planted(tmp_path, *GRU, "recurrent-weights-transposed", "GRU 0")
    monkeypatch.setattr(examine.reference, "of", Reference)
    found = examined(path, *GRU, good=False)
    golden_ids = {case.id for case in diagnosed.stored(*GRU).cases}
    assert found.shortest.case.id in golden_ids
    assert "golden cases only" in found.shortest.told
    assert not found.along.whole
    assert "of which the golden stores" in "\n".join(report.lines(found))
    with_good = examined(path, *GRU)
    assert with_good.along.whole
    assert "the good graph in float64" in with_good.shortest.told


def ended(folder):
    done = subprocess.run(
        [sys.executable, "-I", folder / "reproduce.py"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith(("departs", "conforms")), done.stderr
    return done.returncode


def test_the_command_writes_a_folder_that_shows_it_alone(tmp_path, capsys):
    path = planted(tmp_path, *GRU, "gates-swapped", "GRU 0 z/r")
    folder = tmp_path / "shown"
    call = [
        str(path),
        "--golden",
        "golden/gru_tagger/torch",
        "--lengths",
        "1..9",
        "-o",
        str(folder),
    ]
    assert diagnose.main([*call, "--json", "-q"]) == 1
    told = capsys.readouterr()
    (known,) = json.loads(told.out)["diagnoses"]
    assert known["node"]["node"] == "GRU 'gru.l0_forward'"
    assert known["shortest"]["lengths"] == {"sequence": 1}
    assert known["departure"]["first_step"] == 0
    assert len(known["along"]["errors"]) == 9
    assert "looks like gate order (confirmed)" in told.err
    assert json.loads((folder / "diagnosis.json").read_text())["diagnoses"] == [known]
    assert "┤" in (folder / "diagnosis.md").read_text()
    assert "GRU 'gru.l0_forward'" in (folder / "ISSUE.md").read_text()
    script = (folder / "reproduce.py").read_text()
    assert "harness" not in script
    assert ended(folder) == 1
    # with the right weights in its place the same script ends with 0
    cut, right = onnx.load(folder / "model.onnx"), Net(onnx.load(diagnosed.right(*GRU)))
    (node,) = cut.graph.node
    wanted = [f"gru.{letter}_l0_forward" for letter in "WRB"]
    values = dict(zip(node.input[1:4], (right.constants[name] for name in wanted), strict=True))
    for tensor in cut.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    onnx.save_model(cut, folder / "model.onnx")
    assert ended(folder) == 0


def test_a_cell_that_passes_is_said_to(tmp_path, capsys):
    path = str(diagnosed.right(*SE))
    golden = ["--golden", "golden/sequence_encoder/keras", "--lengths", "1..4"]
    assert diagnose.main([path, *golden, "-q", "-o", str(tmp_path / "none")]) == 0
    assert "nothing to diagnose" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", [None, "softmax-as-sigmoid"])
def test_a_runtime_that_ends_its_process_does_not_end_the_diagnosis(
    tmp_path, capsys, monkeypatch, kind
):
    """What the graph itself computes is looked at all the same."""
    monkeypatch.setitem(RUNTIMES, "aborting", "tests.support.diagnosed:ABORTING")
    path = planted(tmp_path, *GRU, kind, "Softmax 0") if kind else diagnosed.right(*GRU)
    call = [str(path), "--golden", "golden/gru_tagger/torch", "--lengths", "1..3", "-q"]
    assert diagnose.main([*call, "--runtime", "aborting", "-o", str(tmp_path / "shown")]) == 1
    told = capsys.readouterr().out
    assert "ended with signal SIGABRT" in told
    assert ("fault      the graph" in told) is bool(kind)
    assert ("Sigmoid 'node_softmax'" in told) is bool(kind)
    assert (tmp_path / "shown/reproduce.py").is_file()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (["--runtime", "ort-cpu", "-o", "somewhere"], "-o is for one cell; 2 are selected"),
        (["--framework", "torch", "--runtime", "torch"], "runs no graph"),
        (["-k", "gru_tagger/torch", "--against", "nowhere.onnx"], "no such file"),
        (["-k", "gru_tagger/torch", "--against", "README.md"], "--against: README.md"),
        (["--runtime", "nothing"], "unknown runtime 'nothing'"),
    ],
)
def test_an_unusable_call_is_one_line(call, words):
    with pytest.raises(UsageError, match=words) as error:
        diagnose.main(["gru_tagger", *call, "-q", "--lengths", "1..2"])
    assert "\n" not in str(error.value)


def test_another_s_folder_is_not_replaced(tmp_path):
    path = planted(tmp_path, *GRU, "softmax-as-sigmoid", "Softmax 0")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all of it")
    call = [str(path), "--golden", "golden/gru_tagger/torch", "--lengths", "1..2", "-o", str(mine)]
    with pytest.raises(UsageError, match="something else than a diagnosis"):
        diagnose.main([*call, "-q"])
    assert (mine / "thesis.txt").read_text() == "all of it"


def test_a_graph_to_compare_with_that_is_wrong_too_is_refused(tmp_path):
    path = planted(tmp_path, *GRU, "softmax-as-sigmoid", "Softmax 0")
    with pytest.raises(UsageError, match="--against: the graph to compare with departs"):
        examine.cell(diagnosed.work(*GRU, path), ONE_THREAD, path, given=True)


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    path = planted(tmp_path, *GRU, "softmax-as-sigmoid", "Softmax 0")
    found = examined(path, *GRU)

    def stop(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(reproduction, "script", stop)
    with pytest.raises(OSError, match="full"):
        reproduction.write(tmp_path / "half", "ort-cpu", found.example, {})
    assert not (tmp_path / "half").exists()


def test_an_error_that_is_not_finite_reaches_the_report(tmp_path):
    path = planted(tmp_path, *GRU, "output-not-finite", "probabilities NaN")
    found = examined(path, *GRU)
    text = report.dumps("diagnose", {}, [(found, None)])
    assert json.loads(text)["diagnoses"][0]["departure"]["errors"][0] is None
    assert np.isinf(found.at.errors[0])
