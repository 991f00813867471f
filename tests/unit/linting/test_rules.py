"""The static lint finds what is planted, but for sizes, and nothing in a clean graph."""

from __future__ import annotations

import pytest
from onnx import TensorProto
from onnx.defs import onnx_opset_version

from harness.linting import RULES
from tests.support.lint_checks import expect_clean, expect_planted, findings
from tests.support.lint_graphs import (
    AXES,
    EXAMPLE,
    FEATURES,
    UNITS,
    all_double,
    cell,
    custom,
    doubled,
    dropout,
    half,
    half_output,
    lens,
    local_function,
    loop,
    loss,
    lstm,
    model,
    more_inputs,
    node,
    normalized,
    one,
    ones,
    renamed,
    scanned_sum,
    sequence_output,
    shaped,
    table,
    unrolled,
    value,
    wrong_info,
)
from tests.unit.linting import test_baked

NEWEST = onnx_opset_version()
LSTM_OUT = [value("y", ["batch", "sequence", 1, UNITS])]

# rule, severity, part of the place, part of what is found, a graph, sizes of its example
PLANTED = {
    "unrolled": (
        *("control-flow", "warning", "constant 'r'", "its own result 6 times in a row"),
        *(unrolled(6), {}),
    ),
    "loop of an LSTM": (
        *("control-flow", "warning", "Loop 'the_Loop'", "most like LSTM"),
        *(loop(cell("Sigmoid", "Sigmoid", "Sigmoid", "Tanh")), EXAMPLE),
    ),
    "loop of a GRU": (
        *("control-flow", "warning", "Loop 'the_Loop'", "most like GRU"),
        *(loop(cell("Sigmoid", "Sigmoid", "Tanh")), EXAMPLE),
    ),
    "loop of an RNN": (
        *("control-flow", "warning", "Loop 'the_Loop'", "most like RNN"),
        *(loop(cell("Tanh")), EXAMPLE),
    ),
    "loop of a dense layer": (
        *("control-flow", "warning", "Loop 'the_Loop'", "carries nothing"),
        loop([node("Gather", "xt i", "xi"), node("MatMul", "xi w", "o")], carried=False),
        EXAMPLE,
    ),
    "loop of a dense layer that counts": (
        *("control-flow", "warning", "Loop 'the_Loop'", "carries nothing"),
        loop(
            [
                node("Add", "h zero", "h2"),
                node("Gather", "xt i", "xi"),
                node("MatMul", "xi w", "o"),
            ]
        ),
        EXAMPLE,
    ),
    "machine name": (
        *("unnamed-axis", "warning", "input 'x' axis 1", "is named 'unk__157'"),
        *(renamed("batch", "unk__157", FEATURES), {}),
    ),
    "no name": (
        *("unnamed-axis", "warning", "output 'y' axis 0", "has no name"),
        *(renamed(None, "sequence", FEATURES), {}),
    ),
    "another size": (
        *("shape-contradiction", "error", "output 'y' axis 2", "declares 4, the graph gives 3"),
        *(one("Neg", dims=["batch", "sequence", 4]), {}),
    ),
    "another rank": (
        *("shape-contradiction", "error", "output 'y'", "declares ['batch', 'sequence'], the"),
        *(one("Neg", dims=["batch", "sequence"]), {}),
    ),
    "swapped axes": (
        *("shape-contradiction", "warning", "output 'y' axis 0", "declares 'sequence', the graph"),
        *(one("Neg", dims=["sequence", "batch", FEATURES]), {}),
    ),
    "a fixed size that is dynamic": (
        *("shape-contradiction", "error", "output 'y' axis 1", "declares 9, the graph gives 'seq"),
        *(one("Neg", dims=["batch", 9, FEATURES]), EXAMPLE),
    ),
    "a fixed size that is dynamic, example unknown": (
        *("shape-contradiction", "warning", "output 'y' axis 1", "declares 9, the graph gives"),
        *(one("Neg", dims=["batch", 9, FEATURES]), {}),
    ),
    "an inner tensor": (
        *("shape-contradiction", "error", "tensor 'twice' axis 2", "declares 4, the graph gives 3"),
        *(wrong_info(), {}),
    ),
    "shapes that do not meet": (
        *("shape-contradiction", "error", "graph", "cannot be inferred"),
        *(shaped("MatMul", dims=("b", "s", 2), k=ones(4, 2)), {}),
    ),
    "dropout": ("training-node", "error", "the_Dropout'", "training_mode true", dropout(True), {}),
    "dropout by an input": (
        *("training-node", "warning", "the_Dropout'", "where 'mode' is true", dropout(None), {}),
    ),
    "batch normalization": (
        *("training-node", "error", "the_BatchNormalization'", "updates its statistics"),
        *(normalized(training_mode=1), {}),
    ),
    "loss": ("training-node", "warning", "LikelihoodLoss'", "computes a loss", loss(), {}),
    "random": (
        *("random-node", "warning", "the_RandomNormalLike'", "two runs"),
        *(one("RandomNormalLike"), {}),
    ),
    "double constant": ("wide-dtype", "warning", "constant 'two'", "float64", doubled(), {}),
    "double node": ("wide-dtype", "warning", "the_Cast'", "2 nodes compute", doubled(), {}),
    "wide integers": (
        *("wide-dtype", "warning", "initializer 'table'", "2048 int64 values"),
        *(table(*range(2048)), {}),
    ),
    "half constant": ("reduced-dtype", "warning", "constant 'half'", "float16", half(), {}),
    "unused input": ("unused", "warning", "input 'mask'", "nothing reads", more_inputs(), {}),
    "unused constant": (
        *("unused", "warning", "initializer 'spare'", "nothing reads"),
        *(model([node("Neg", "x", "y")], [value("y", AXES)], spare=ones(2)), {}),
    ),
    "deprecated": (
        *("deprecated-op", "error", "the_Upsample'", "is deprecated since opset 10"),
        *(shaped("Upsample", k=ones(3)), {}),
    ),
    "custom": ("custom-op", "warning", "the_Swish'", "com.acme.Swish is not", custom(), {}),
    "invalid": ("invalid-onnx", "error", "model", "No Op registered for Ad", one("Ad"), {}),
    "opset 99": (
        *("invalid-onnx", "error", "model", f"opset 99 is newer than this onnx's {NEWEST}"),
        *(lstm(opset=99), {}),
    ),
    "opset 22": (
        *("recurrent-opset", "warning", "opset 22", "LSTM run on the CPU", lstm(opset=22), {}),
    ),
    "clip": ("recurrent-on-cpu", "warning", "the_LSTM'", "has clip", lstm(clip=1.0), {}),
    "sequence_lens": (
        *("sequence-lens", "warning", "the_LSTM'", "computed", lens(computed=True), {}),
    ),
    "layout": (
        *("recurrent-layout", "warning", "the_LSTM'", "layout 1"),
        *(lstm("x w r", layout=1, outputs=LSTM_OUT), {}),
    ),
}

# rule, a graph in which it has nothing to find, sizes of its example
CLEAN = {
    "loop that sums": (
        "control-flow",
        loop(
            [
                node("Gather", "xt i", "xi"),
                node("MatMul", "xi w", "in"),
                node("Add", "h in", "h2"),
                node("Identity", "h2", "o"),
            ]
        ),
        EXAMPLE,
    ),
    "a sum of scanned steps": ("control-flow", scanned_sum(), EXAMPLE),
    "outputs that are no tensors": (None, sequence_output(), EXAMPLE),
    "loop that samples": (
        "control-flow",
        loop([node("Neg", "h", "h2"), node("Identity", "h2", "o")]),
        EXAMPLE,
    ),
    "dropout off": ("training-node", dropout(False), EXAMPLE),
    "batch normalization": (None, normalized(), EXAMPLE),
    "all float64": (None, all_double(), EXAMPLE),
    "all float16": (None, half(TensorProto.FLOAT16), EXAMPLE),
    "an output of float16": (None, half_output(), EXAMPLE),
    "large integers": (None, table(*range(2**40, 2**40 + 2048)), EXAMPLE),
    "small table": (None, table(1, 2, 3), EXAMPLE),
    "local function": (None, local_function(), EXAMPLE),
    "opset 21": (None, lstm(opset=21), EXAMPLE),
    "the newest opset": ("invalid-onnx", one("Neg", opset=NEWEST), EXAMPLE),
    "opset 22 without a cell": ("recurrent-opset", one("Neg", opset=22), EXAMPLE),
    "constant lengths": ("sequence-lens", lens(computed=False), EXAMPLE),
}


@pytest.mark.parametrize("case", PLANTED.values(), ids=PLANTED)
def test_what_is_planted_is_found(case):
    expect_planted(*case)


@pytest.mark.parametrize("case", CLEAN.values(), ids=CLEAN)
def test_what_is_clean_is_left_alone(case):
    expect_clean(*case)


def test_every_rule_has_a_graph_planted_for_it():
    cases = [*PLANTED.values(), *test_baked.PLANTED.values()]
    assert {case[0] for case in cases} | {"external-data"} == set(RULES)


def test_errors_come_first():
    training = dropout(True)
    training.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "unk__1"
    every = [(f.rule, f.severity) for f in findings(training, EXAMPLE)]
    assert every == [("training-node", "error"), ("unnamed-axis", "warning")]
