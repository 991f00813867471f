from contextlib import nullcontext, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import selectors
from harness.core.errors import HarnessError, NothingSelectedError, UsageError
from harness.core.results import Cell
from harness.core.schema import Case

MODELS = {"m": ("keras", "torch"), "n": ("jax",)}
IDS = ["a/torch/native", "a/keras/native", "b/torch/tf2onnx"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("torch", [0, 2]),
        ("not torch", [1]),
        ("a/ and torch", [0]),
        ("keras or tf2onnx", [1, 2]),
        ("not (keras or tf2onnx)", [0]),
        ("a/ and not torch or b/", [1, 2]),
        ("nothing", []),
    ],
)
def test_keyword_expressions(text, kept):
    expression = selectors.Expression(text)
    assert [i for i, name in enumerate(IDS) if expression.matches(name)] == kept


@pytest.mark.parametrize("text", ["", "and", "a and", "(a", "a b", "not", "a)", "or a"])
def test_a_malformed_expression_is_refused_at_once(text):
    with pytest.raises(UsageError, match="-k"):
        selectors.Expression(text)


@given(st.text("ab() andornot", max_size=20))
def test_any_expression_is_read_or_refused(text):
    read = False
    with suppress(UsageError):
        read = selectors.Expression(text).matches("a/b") in (True, False)
    with nullcontext() if read else pytest.raises(UsageError, match=r"^-k [^\n]*$"):
        selectors.Expression(text)


def test_numbers_and_ranges():
    chosen = selectors.numbers("--lengths", ["1,2,7..9", "128"], {1, 2, 7})
    assert [n for n in range(200) if n in chosen] == [1, 2, 7, 8, 9, 128]
    assert 5 in selectors.numbers("--lengths", [], {1})
    assert 5 in selectors.numbers("--lengths", ["all"], {1})


@pytest.mark.parametrize("text", ["0..", "..5", "0", "9..7", "x", "-1", "1.5", "", "1,,2"])
def test_malformed_numbers_list_what_there_is(text):
    with pytest.raises(UsageError, match=r"there are: 1, 2, 7$"):
        selectors.numbers("--lengths", [text], {7, 2, 1})


def test_a_number_that_no_case_has_is_refused():
    with pytest.raises(UsageError, match="--lengths 14: no golden case has it; there are: 1, 7"):
        selectors.numbers("--lengths", ["7,14"], {1, 7}).require({1, 7})


def test_names_globs_and_suggestions():
    assert selectors.names("model", ["b*,a"], ["a", "b1", "b2", "c"]) == ["a", "b1", "b2"]
    assert selectors.names("model", ["all"], ["a", "b"]) == ["a", "b"]
    with pytest.raises(UsageError, match=r"did you mean tagger\?.*choose from: lm, tagger"):
        selectors.names("model", ["tager"], ["tagger", "lm"])


def test_cells_follow_the_exporters_frameworks():
    targets = ["native/keras", "native/torch", "tf2onnx/keras"]
    exporters = ["native", "tf2onnx"]
    cells = selectors.cells(
        MODELS, ["keras", "torch"], exporters, ["fp32"], ["ort-cpu"], targets, None
    )
    assert [cell.id for cell in cells] == [
        "m/keras/native/fp32/ort-cpu",
        "m/keras/tf2onnx/fp32/ort-cpu",
        "m/torch/native/fp32/ort-cpu",
    ]
    with pytest.raises(NothingSelectedError):
        selectors.cells(MODELS, ["torch"], ["tf2onnx"], ["fp32"], ["ort-cpu"], targets, None)


@given(st.integers(1, 30), st.integers(1, 30))
def test_shards_are_a_partition(cells, count):
    items = [Cell(str(i), "f", "e", "v", "r") for i in range(cells)]
    sharded = []
    for number in range(1, count + 1):
        try:
            sharded += selectors.shard(items, f"{number}/{count}")
        except NothingSelectedError:
            assert number > cells
    assert sorted(sharded, key=lambda c: int(c.model)) == items


@pytest.mark.parametrize("text", ["0/2", "3/2", "x", "1", "1/0", "/"])
def test_a_malformed_shard_is_refused(text):
    with pytest.raises(HarnessError):
        selectors.shard([Cell("m", "f", "e", "v", "r")], text)


def test_cases_go_by_their_longest_axis_from_short_to_long():
    cases = [Case({"a": 9, "b": 1}, 1), Case({"a": 2, "b": 3}, 2), Case({"a": 1, "b": 1}, 3)]
    chosen = selectors.choose(
        cases, selectors.numbers("--lengths", ["1..3"], {1}), selectors.Numbers("--batch")
    )
    assert chosen == [cases[2], cases[1]]
