"""A right graph that a runtime computes wrongly, or refuses, is told from a wrong graph."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.core.errors import LoadError, RunError
from harness.diagnosis import reproduction, values, wrong_runtime
from harness.graphs.view import Net
from harness.mutation import study
from harness.mutation.defects.defect import Specimen
from harness.runtimes import load
from harness.runtimes.settings import NONE
from tests.support import diagnosed
from tests.support.diagnosed import GRU, LM, ONE_THREAD, examined, planted, reproduced


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
        mutant = next(self.defect(Specimen(model, self.spec)), None)
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
    diagnosis = examined(copied(*of), *of, good=False, runtime=Faulty(kind, spec), label="faulty")
    assert diagnosis.fault == "runtime"
    assert diagnosis.blame.label.startswith(operator)
    assert diagnosis.blame.certain
    confirmed = [guess.pattern for guess in diagnosis.guesses if guess.confirmed]
    assert confirmed == ([pattern] if pattern else [])
    assert [node.op_type for node in diagnosis.example.model.graph.node] == [operator]


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
    observed = values.observe(Net(model), ["rest"], runtime, inputs, tmp_path)["rest"]
    assert np.abs(observed - inputs["x"]).max() > 10 * values.ROUNDING


def test_a_failure_is_traced_to_the_node_that_made_it(copied):
    """Without an exchange of time and batch a later node meets shapes that do not fit."""
    faulty = Faulty("transpose-omitted", diagnosed.stored(*GRU).spec)
    diagnosis = examined(copied(*GRU), *GRU, good=False, runtime=faulty, label="faulty")
    assert diagnosis.fault == "runtime"
    assert diagnosis.at is None
    assert diagnosis.blame.label == "Transpose 'node_transpose'"
    assert "what fails for it is" in diagnosis.blame.words
    assert [node.op_type for node in diagnosis.example.model.graph.node] == ["Transpose"]


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
    diagnosis = examined(path, *GRU)
    assert diagnosis.blame.label == "Sigmoid 'node_softmax'"


def test_the_reference_evaluator_ignores_sequence_lens_in_an_lstm(tmp_path):
    diagnosis = examined(
        diagnosed.right(*LM),
        *LM,
        good=False,
        runtime=load("onnx-reference"),
        label="onnx-reference",
    )
    assert diagnosis.fault == "runtime"
    assert diagnosis.blame.label == "LSTM 'lstm.l0_forward'"
    assert diagnosis.shortest.case.id == "sequence2-b1-right"
    (guess,) = [guess for guess in diagnosis.guesses if guess.confirmed]
    assert guess.pattern == "mask ignored"
    loader = load("onnx-reference").loader(NONE)
    reproduction.write(tmp_path / "it", loader, diagnosis.example, {})
    assert reproduced(tmp_path / "it") == 1


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
    diagnosis = examined(copied(*GRU), *GRU, good=False, runtime=faulty, label="faulty")
    assert diagnosis.fault == "session"
    assert diagnosis.after.id == after if after else diagnosis.after is not None
    assert [guess.pattern for guess in diagnosis.guesses] == ["leaked state"]
    assert diagnosis.example.before is not None
    assert diagnosis.at.first == 0


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
    diagnosis = examined(copied(*GRU), *GRU, good=False, runtime=runtime, label="tuned")
    confirmed = {guess.pattern: guess.rests_on for guess in diagnosis.guesses if guess.confirmed}
    assert [*confirmed] == ([pattern] if pattern else [])
    assert rests in "".join(confirmed.values())


def test_a_setting_that_heals_some_failing_cases_alone_is_not_the_cause(copied):
    """Without optimisation one of the two is wrong still: the error is there in both settings."""
    wrong = Faulty("softmax-with-temperature", diagnosed.stored(*GRU).spec)

    class Partly(Tuned):
        def prepare(self, path):
            session, right = self.wrong.prepare(path), ONE_THREAD.prepare(path)
            wrong = session.run

            def run(inputs):
                long = any(value.ndim > 1 and value.shape[1] > 2 for value in inputs.values())
                return (wrong if long else right.run)(inputs)

            session.run = run
            return session

    partly, tuned = (kind(wrong, lambda settings: False) for kind in (Partly, Tuned))
    tuned.configured = lambda **settings: partly if settings.get("optimization") else tuned
    diagnosis = examined(copied(*GRU), *GRU, good=False, runtime=tuned, label="tuned")
    assert diagnosis.shortest.case.longest <= 2 < diagnosis.failing[-1].longest
    assert "graph optimisation" not in [guess.pattern for guess in diagnosis.guesses]


class Refusing:
    """A runtime that does not load, or does not run, any graph with a node of one kind."""

    def __init__(self, operator, stage):
        self.operator, self.stage = operator, stage

    def check(self):
        return None

    def prepare(self, path):
        session = ONE_THREAD.prepare(path)
        if any(node.op_type == self.operator for node in onnx.load(path).graph.node):
            message = f"this runtime has no kernel for such a {self.operator}"
            if self.stage is LoadError:
                raise LoadError(message)
            session.run = self.refused(message)
        return session

    def refused(self, message):
        def run(inputs):
            raise RunError(message)

        return run


@pytest.mark.parametrize("stage", [LoadError, RunError])
@pytest.mark.parametrize(("operator", "label"), [("Softmax", "node_softmax"), ("Pad", "node_pad")])
def test_the_node_that_a_runtime_refuses_is_found(copied, stage, operator, label):
    runtime = Refusing(operator, stage)
    diagnosis = examined(copied(*GRU), *GRU, good=False, runtime=runtime, label="refusing")
    assert diagnosis.fault == "runtime"
    assert diagnosis.blame.label == f"{operator} '{label}'"
    assert [node.op_type for node in diagnosis.example.model.graph.node] == [operator]


def test_a_node_that_a_runtime_names_is_believed(copied):
    """It refuses every graph, so that cutting it would end at the first node."""
    message = "while 'gru.l0_forward' was translated: no such kernel"
    runtime = Refusing("Shape", RunError)
    runtime.refused = lambda _: Refusing.refused(runtime, message)
    diagnosis = examined(copied(*GRU), *GRU, good=False, runtime=runtime, label="refusing")
    assert diagnosis.blame.label == "GRU 'gru.l0_forward'"


def test_nodes_off_the_device_are_told_as_a_fallback(copied):
    message = "3 of 30 nodes not on CUDAExecutionProvider: GRU 'gru' on CPUExecutionProvider"
    runtime = Refusing("GRU", RunError)
    runtime.refused = lambda _: Refusing.refused(runtime, message)
    diagnosis = examined(copied(*GRU), *GRU, good=False, runtime=runtime, label="refusing")
    assert [(guess.pattern, guess.rests_on) for guess in diagnosis.guesses] == [
        ("CPU fallback", message)
    ]


def test_a_tensor_that_cannot_be_seen_makes_its_reader_uncertain(copied):
    """Where the GRU's output is an output of the graph, this runtime is right."""
    wrong = Faulty("gates-swapped", diagnosed.stored(*GRU).spec)

    class Shy(Faulty):
        def prepare(self, path):
            shown = {value.name for value in onnx.load(path).graph.output}
            return (ONE_THREAD if "getitem" in shown else wrong).prepare(path)

    diagnosis = examined(
        copied(*GRU), *GRU, good=False, runtime=Shy("gates-swapped", None), label="shy"
    )
    assert diagnosis.fault == "runtime"
    assert not diagnosis.blame.certain
    assert "getitem" in diagnosis.blame.words
    assert any("vanishes where one of these is an output: getitem" in n for n in diagnosis.notes)
