"""The lint of one model against another export of it."""

from __future__ import annotations

import numpy as np
import pytest

from harness.graphs.inference import gather
from harness.linting import against, linter
from tests.support.lint_graphs import (
    EXAMPLE,
    FEATURES,
    UNITS,
    clean,
    computed_shape,
    elementwise,
    ints,
    lstm,
    one,
    renamed,
    shaped,
    state,
    table,
    unrolled,
)

PADS = ints(0, 0, 0, 0, 7, 0)
OTHER = {"batch": 11, "sequence": 13}


def difference(model, other_model, example=EXAMPLE, other_example=OTHER):
    return list(against.compare(gather(model, example), gather(other_model, other_example)))


@pytest.mark.parametrize(
    ("model", "other_model", "rule", "text"),
    [
        (
            shaped("Pad", k=PADS),
            shaped("Pad", k=ints(0, 0, 0, 0, 13, 0)),
            "baked-length",
            "is 7 here and 13 in the other export, the sizes of sequence",
        ),
        (state(1, 5, UNITS), state(1, 11, UNITS), "baked-batch", "is 5 here and 11 in the other"),
        (
            renamed("batch", 7, FEATURES),
            renamed("batch", 13, FEATURES),
            "baked-length",
            "is 7 here and 13 in the other",
        ),
        (
            elementwise("Div", k=np.float32(6)),
            elementwise("Div", k=np.float32(12)),
            "baked-length",
            "is 6.0 here and 12.0 in the other export",
        ),
        (
            one("Flatten", dims=["a", "b"], axis=1),
            one("Flatten", dims=["a", "b"], axis=2),
            "baked-length",
            "is 1 here and 2 in the other export",
        ),
        (unrolled(5), unrolled(6), "baked-length", "has 12 nodes, the other export 14"),
    ],
    ids=["pad", "state", "declared", "divisor", "attribute", "unrolled"],
)
def test_what_differs_between_two_exports_is_baked(model, other_model, rule, text):
    first = difference(model, other_model)[0]
    assert (first.rule, first.severity) == (rule, "error")
    assert text in first.found


def test_two_exports_that_agree_have_nothing_baked():
    assert difference(computed_shape(), computed_shape()) == []
    assert difference(lstm(), lstm(), {}, {}) == []


def test_exports_at_the_same_sizes_prove_nothing():
    with pytest.raises(linter.UsageError, match="both were exported at batch=5, sequence=7"):
        difference(clean(), clean(), EXAMPLE, EXAMPLE)


def test_another_model_is_no_other_export():
    with pytest.raises(linter.UsageError, match="with inputs x; there are ids"):
        difference(clean(), table(1, 2, 3))
