"""Planted defects are named: the node, the step, the shortest length."""

from dataclasses import replace

import onnx
import pytest
from onnx import numpy_helper

from harness.core.errors import ExportError
from harness.diagnosis import examine, report
from harness.diagnosis.reference import Reference
from harness.diagnosis.reference import of as reference_of
from harness.mutation import study
from harness.validation.job import Failed
from tests.support import diagnosed
from tests.support.diagnosed import BI, GRU, LM, SE, Truth, examined, planted

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "framework", "kind", "place", "node", "pattern"),
    TABLE,
    ids=["-".join(row[:4]).replace(" ", "_").replace("/", "") for row in TABLE],
)
def test_a_planted_defect_is_named(tmp_path, model, framework, kind, place, node, pattern):
    path = planted(tmp_path, model, framework, kind, place)
    diagnosis = examined(path, model, framework)
    truth = Truth.of(model, framework, path)
    # the node
    mutated = onnx.load(path)
    touched = diagnosed.changed(mutated, onnx.load(diagnosed.right(model, framework)))
    assert diagnosis.fault == "graph"
    assert diagnosis.blame is not None
    assert diagnosis.blame.certain
    assert diagnosis.blame.node in touched
    assert (len(touched) == 1) <= bool(node)
    assert not node or diagnosis.blame.label == node
    # the shortest length
    assert max(diagnosis.shortest.case.lengths.values()) == truth.shortest()
    # the step
    reference = reference_of(diagnosed.stored(model, framework))
    for along, case in ((diagnosis.at, diagnosis.shortest.case), (diagnosis.along, None)):
        if along is not None:
            inputs = reference.case(case or along.case).inputs
            assert along.first == truth.first_step(inputs, along.case.lengths)
    if diagnosis.at is None:
        inputs = reference.case(diagnosis.shortest.case).inputs
        assert truth.errors(inputs, diagnosis.shortest.case.lengths) is None
    # what it looks like, and what shows it alone
    assert pattern in ("", *(guess.pattern for guess in diagnosis.guesses))
    assert diagnosis.example is not None
    assert len(diagnosis.example.model.graph.node) <= len(mutated.graph.node)


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
    diagnosis = examined(path, *GRU)
    assert diagnosis.blame.certain
    model = onnx.load(path)
    touched = {model.graph.node[i].op_type for i in diagnosis.blame.nodes}
    assert operator in touched


def test_a_length_that_is_baked_in_is_recognised(tmp_path):
    path = planted(tmp_path, *SE, "length-baked-by-reshape", "LSTM 0")
    job = replace(diagnosed.job(*SE, path), example={"batch": 5, "sequence": 7})
    diagnosis = examine.cell(job, diagnosed.right(*SE))
    assert diagnosis.blame.label.startswith("Reshape 'planted_")
    baked = [guess for guess in diagnosis.guesses if guess.pattern == "baked length"]
    assert [guess.confirmed for guess in baked] == [True]
    assert "sequence=7" in baked[0].words


def test_an_export_that_failed_has_no_graph_to_look_into():
    job = diagnosed.job(*GRU, None)
    fields = {"cell": job.cell, "golden": job.golden, "runtime": job.runtime}
    diagnosis = examine.cell(Failed(**fields, failure=ExportError("it cannot be traced")))
    assert (diagnosis.stage.value, diagnosis.reason) == ("export", "it cannot be traced")
    assert "no graph" in "\n".join(report.lines(diagnosis))


def test_gates_in_another_order_are_recognised_without_a_good_graph(tmp_path):
    path = planted(tmp_path, *BI, "gates-swapped", "LSTM 1 o/f")
    diagnosis = examined(path, *BI, good=False)
    assert diagnosis.fault == "graph"
    assert diagnosis.blame.label == "LSTM 'lstm.l0_reverse'"
    assert any("no good graph" in note and "undone" in note for note in diagnosis.notes)
    (guess,) = diagnosis.guesses
    assert guess.confirmed
    assert guess.words == (
        "LSTM 'lstm.l0_reverse': its gates come in the order i f o c instead of i o f c"
    )


def test_what_is_no_known_mistake_is_open_without_a_good_graph(tmp_path):
    path = planted(tmp_path, *GRU, "softmax-as-sigmoid", "Softmax 0")
    diagnosis = examined(path, *GRU, good=False)
    assert diagnosis.fault == "graph"
    assert diagnosis.blame is None
    assert diagnosis.guesses == []
    assert any("no good graph" in note for note in diagnosis.notes)
    assert diagnosis.example.what.startswith("the whole model")


def test_two_defects_are_not_said_to_be_one(tmp_path):
    """The first is named; with it mended the golden is still not met, so nothing is confirmed."""
    path = planted(tmp_path, *GRU, "gates-swapped", "GRU 0 z/r")
    model = onnx.load(path)
    (bias,) = [t for t in model.graph.initializer if t.name == "probabilities.bias"]
    value = numpy_helper.to_array(bias).copy()
    value[0] += 1
    bias.CopyFrom(numpy_helper.from_array(value, bias.name))
    onnx.save_model(model, path)
    diagnosis = examined(path, *GRU)
    assert diagnosis.blame.label == "GRU 'gru.l0_forward'"
    assert [(g.pattern, g.confirmed) for g in diagnosis.guesses] == [("gate order", False)]


@pytest.mark.parametrize(
    ("kind", "place"),
    [("output-renamed", "probabilities"), ("output-retyped", "probabilities float64")],
)
def test_what_a_graph_declares_wrongly_is_the_graph_s_fault(tmp_path, kind, place):
    path = planted(tmp_path, *GRU, kind, place)
    diagnosis = examined(path, *GRU)
    assert diagnosis.stage.value == "check"
    assert diagnosis.fault == "graph"
    mutated = onnx.load(path)
    assert diagnosis.blame.node in diagnosed.changed(mutated, onnx.load(diagnosed.right(*GRU)))


def test_without_an_oracle_nothing_is_claimed_of_other_lengths(tmp_path, monkeypatch):
    """Some steps and some cases are stored, and neither weights nor a right graph are at hand."""
    path = planted(tmp_path, *GRU, "recurrent-weights-transposed", "GRU 0")
    monkeypatch.setattr(examine.reference, "of", Reference)
    diagnosis = examined(path, *GRU, good=False)
    golden_ids = {case.id for case in diagnosed.stored(*GRU).cases}
    assert diagnosis.shortest.case.id in golden_ids
    assert "golden cases only" in diagnosis.shortest.how
    assert not diagnosis.along.whole
    assert "of which the golden stores" in "\n".join(report.lines(diagnosis))
    with_good = examined(path, *GRU)
    assert with_good.along.whole
    assert "the good graph in float64" in with_good.shortest.how
