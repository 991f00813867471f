"""The static lint finds baked sizes where they are planted, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from tests.support.lint_checks import expect_clean, expect_planted
from tests.support.lint_graphs import (
    AXES,
    EXAMPLE,
    FEATURES,
    I64,
    UNITS,
    F,
    clean,
    computed_shape,
    elementwise,
    ints,
    lstm,
    model,
    node,
    ones,
    renamed,
    reshape,
    shaped,
    state,
    trips,
    unrolled,
    value,
)

SLICE = {"start": ints(0), "end": ints(7), "axis": ints(1)}
HEADS = [value("x", ["batch", "sequence", 35])]
PADS = ints(0, 0, 0, 0, 7, 0)

# rule, severity, part of the place, part of what is found, a graph, sizes of its example
PLANTED = {
    "reshape": (
        *("baked-length", "error", "the_Reshape' input 'shape'", "7, the example's sequence"),
        *(reshape([-1, 7, FEATURES], ["b", "s", FEATURES]), EXAMPLE),
    ),
    "reshape to a batch": (
        *("baked-batch", "error", "the_Reshape' input 'shape'", "5, the example's batch"),
        *(reshape([5, -1, FEATURES], ["b", "s", FEATURES]), EXAMPLE),
    ),
    "reshape to both": (
        *("baked-length", "error", "the_Reshape' input 'shape'", "35, the example's batch times"),
        *(reshape([35, FEATURES], ["r", FEATURES]), EXAMPLE),
    ),
    "reshape, example unknown": (
        *("baked-length", "warning", "the_Reshape' input 'shape'", "does not fit every size"),
        *(reshape([-1, 7, FEATURES], ["b", "s", FEATURES]), {}),
    ),
    "expand": (
        *("baked-batch", "error", "the_Expand' input 'k'", "5, the example's batch"),
        *(shaped("Expand", inputs="zero k", zero=np.float32(0), k=ints(5, 1, 2)), EXAMPLE),
    ),
    "expand by a concatenated shape": (
        *("baked-length", "error", "the_Expand' input 'k'", "7, the example's sequence"),
        shaped(
            "Expand",
            [node("Shape", "x", "n", start=0, end=1), node("Concat", "n seven one", "k", axis=0)],
            inputs="zero k",
            zero=np.float32(0),
            seven=ints(7),
            one=ints(1),
        ),
        EXAMPLE,
    ),
    "constant of shape": (
        *("baked-batch", "error", "the_ConstantOfShape'", "5, the example's batch"),
        *(shaped("ConstantOfShape", inputs="k", k=ints(5, 1, 2)), EXAMPLE),
    ),
    "tile": (
        *("baked-length", "error", "the_Tile' input 'k'", "7, the example's sequence"),
        *(shaped("Tile", k=ints(1, 7, 1)), EXAMPLE),
    ),
    "range": (
        *("baked-length", "error", "the_Range' input 'n'", "limit is 7, the example's sequence"),
        model(
            [node("Range", "o n i", "r"), node("Cast", "r", "f", to=F), node("Neg", "x", "y")],
            [value("y", AXES), value("f", ["n"])],
            o=np.int64(0),
            n=np.int64(7),
            i=np.int64(1),
        ),
        EXAMPLE,
    ),
    "slice": (
        *("baked-length", "error", "the_Slice'", "end 7 on the dynamic axis 1"),
        *(shaped("Slice", inputs="x start end axis", **SLICE), EXAMPLE),
    ),
    "the last step by its number": (
        *("baked-length", "error", "the_Gather'", "index 6 on the dynamic axis 1 is the last step"),
        model(
            [node("Gather", "x k", "y", axis=1)],
            [value("y", ["batch", FEATURES])],
            k=np.int64(6),
        ),
        EXAMPLE,
    ),
    "reversed by numbers": (
        *("baked-length", "error", "the_Gather'", "index 6 on the dynamic axis 1 is the last step"),
        model(
            [node("Gather", "x k", "y", axis=1)],
            [value("y", ["batch", "s", FEATURES])],
            k=ints(6, 5, 4, 3, 2, 1, 0),
        ),
        EXAMPLE,
    ),
    "split": (
        *("baked-length", "error", "the_Split'", "sizes that sum to 7"),
        model(
            [node("Split", "x k", "y z", axis=1)],
            [value("y", ["b", "s", FEATURES]), value("z", ["b", "u", FEATURES])],
            k=ints(3, 4),
        ),
        EXAMPLE,
    ),
    "top k": (
        *("baked-length", "error", "the_TopK'", "k 7 on the dynamic axis 1"),
        model(
            [node("TopK", "x k", "y i", axis=1)],
            [value("y", ["b", "s", FEATURES]), value("i", ["b", "s", FEATURES], I64)],
            k=ints(7),
        ),
        EXAMPLE,
    ),
    "pad": (
        *("baked-length", "warning", "the_Pad'", "padding of 7 on the dynamic axis 1"),
        *(shaped("Pad", k=PADS), EXAMPLE),
    ),
    "trip count": (
        *("baked-length", "error", "Loop 'the_Loop'", "trip count is 7, the example's sequence"),
        *(trips(7), EXAMPLE),
    ),
    "initial state": (
        *("baked-batch", "error", "the_LSTM' input 'h'", "5, the example's batch rows"),
        *(state(1, 5, UNITS), EXAMPLE),
    ),
    "initial state, example unknown": (
        *("baked-batch", "warning", "the_LSTM' input 'h'", "holds 5 rows for the dynamic batch"),
        *(state(1, 5, UNITS), {}),
    ),
    "lengths": (
        *("baked-length", "error", "the_LSTM' input 'lens'", "7, the example's sequence for every"),
        lstm("xt w r - lens", constants={"lens": np.array([7, 7], np.int32)}),
        EXAMPLE,
    ),
    "a mask of one length": (
        *("baked-length", "error", "the_Add' input 'k'", "meets the dynamic axis 'sequence'"),
        *(elementwise(k=ones(7, 1)), EXAMPLE),
    ),
    "a mask of one length, example unknown": (
        *("baked-length", "warning", "the_Add' input 'k'", "size 7 meets the dynamic axis"),
        *(elementwise(k=ones(7, 1)), {}),
    ),
    "a product over time": (
        *("baked-length", "error", "the_MatMul' input 'k'", "meets the dynamic axis 'sequence'"),
        *(shaped("MatMul", inputs="k x", dims=("b", "s", FEATURES), k=ones(4, 7)), EXAMPLE),
    ),
    "declared input": (
        *("baked-length", "error", "input 'x' axis 1", "declares 7, the example's sequence"),
        *(renamed("batch", 7, FEATURES), EXAMPLE),
    ),
    "an output of one length": (
        *("baked-length", "error", "output 'y' axis 1", "always has 7, the example's sequence"),
        model([node("Mul", "one k", "y")], [value("y", AXES)], k=ones(5, 7, 3), one=np.float32(1)),
        EXAMPLE,
    ),
    "an output that is fixed": (
        *("shape-contradiction", "warning", "output 'y' axis 1", "declares 'sequence', the graph"),
        *(reshape([0, 9, FEATURES], AXES), EXAMPLE),
    ),
    "unrolled as often as the example is long": (
        *("baked-length", "error", "constant 'r'", "7 unrolled steps, 7, the example's sequence"),
        *(unrolled(7), EXAMPLE),
    ),
}

# rule, a graph in which it has nothing to find, sizes of its example
CLEAN = {
    "clean": (None, clean(), EXAMPLE),
    "clean, example unknown": (None, clean(), {}),
    "shape computed": (None, computed_shape(), EXAMPLE),
    "features split into 5 heads of 7": (
        None,
        model(
            [node("Reshape", "x heads", "split"), node("Reshape", "split whole", "y")],
            [value("y", ["batch", "sequence", 35])],
            HEADS,
            heads=ints(0, 0, 5, 7),
            whole=ints(0, 0, 35),
        ),
        EXAMPLE,
    ),
    "features flattened": (None, reshape([-1, FEATURES], ["rows", FEATURES]), EXAMPLE),
    "one row": (None, lstm(), EXAMPLE),
    "state of one row": (None, state(1, 1, UNITS), EXAMPLE),
    "five features of eleven": (
        None,
        model(
            [node("Slice", "x start end axis", "part"), node("MatMul", "part k", "y")],
            [value("y", ["batch", "sequence", 2])],
            [value("x", ["batch", "sequence", 11])],
            start=ints(0),
            end=ints(5),
            axis=ints(2),
            k=ones(5, 2),
        ),
        EXAMPLE,
    ),
    "the first steps": (
        "baked-length",
        shaped("Slice", inputs="x start end axis", **{**SLICE, "end": ints(4)}),
        EXAMPLE,
    ),
    "bias of rank 3": (None, elementwise(k=ones(1, 1, FEATURES)), EXAMPLE),
    "bias": (None, elementwise(k=ones(FEATURES)), EXAMPLE),
    "pad by two": ("baked-length", shaped("Pad", k=ints(0, 0, 0, 0, 2, 0)), EXAMPLE),
    "a weight used often, side by side": (None, unrolled(7, restart=1), EXAMPLE),
    "two chains of three cells": (None, unrolled(6, restart=3), EXAMPLE),
    "three cells": (None, unrolled(3), EXAMPLE),
}


@pytest.mark.parametrize("case", PLANTED.values(), ids=PLANTED)
def test_what_is_planted_is_found(case):
    expect_planted(*case)


@pytest.mark.parametrize("case", CLEAN.values(), ids=CLEAN)
def test_what_is_clean_is_left_alone(case):
    expect_clean(*case)


def test_a_shape_that_comes_a_long_way_is_no_error():
    links = 2000
    nodes = [helper.make_node("Shape", ["x"], ["v0"])]
    nodes += [helper.make_node("Identity", [f"v{n}"], [f"v{n + 1}"]) for n in range(links)]
    nodes.append(helper.make_node("Reshape", ["x", f"v{links}"], ["y"]))
    expect_clean("baked-length", model(nodes, [value("y", AXES)]), EXAMPLE)
