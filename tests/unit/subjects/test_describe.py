"""What a user says of a model's inputs, a line at a time and in TOML."""

import os
import sys
from pathlib import Path

import pytest

from harness.core.axis_rules import AxisRule
from harness.core.errors import UsageError
from harness.subjects.describe import complete, description, file, line
from harness.subjects.description import InputDescription


def test_a_whole_line():
    described = line("tokens: int64[batch, sequence] in 0..9999, padding 0")
    assert described == InputDescription(
        "tokens", "int64", ("batch", "sequence"), 0.0, 9999.0, padding=0.0
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x:float32[batch,time,40]", InputDescription("x", "float32", ("batch", "time", 40))),
        ("x: in -3..3.5, normal", InputDescription("x", low=-3.0, high=3.5, normal=True)),
        ("x: float32, may be nan", InputDescription("x", "float32", nan=True)),
        ("x: [batch, ?]", InputDescription("x", axes=("batch", None))),
        ("x: float32", InputDescription("x", "float32")),
        ("x: padding -1e3", InputDescription("x", padding=-1000.0)),
        (
            "m: bool[t], mask of t, right",
            InputDescription("m", "bool", ("t",), mask_of="t", right=True),
        ),
        (
            "m: bool[batch, t], padding mask of t",
            InputDescription("m", "bool", ("batch", "t"), mask_of="t", marks=(0.0, 1.0)),
        ),
        (
            "m: [batch, t], additive mask of t",
            InputDescription("m", axes=("batch", "t"), mask_of="t", marks=(0.0, -1e9)),
        ),
        ("x: no padding", InputDescription("x", no_padding=True)),
        (
            "n: int64[batch], lengths of t",
            InputDescription("n", "int64", ("batch",), lengths_of="t"),
        ),
        ("n: int64[], lengths of t", InputDescription("n", "int64", (), lengths_of="t")),
        ("a/x:0: int32[t] in 0..3", InputDescription("a/x:0", "int32", ("t",), 0.0, 3.0)),
    ],
)
def test_parts_may_be_left_out(text, expected):
    assert line(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens", "describes no input"),
        ("x: floats[batch]", "unknown dtype 'floats'; choose from: float32, int64"),
        ("x: float32[batch, time 2]", "axis 'time 2' is neither a name nor a size"),
        ("x: float32[batch, 0]", "axis '0' is neither"),
        ("x: float32[batch, batch]", "has the batch twice"),
        ("m: bool[batch, t, 4], causal mask of t", "needs axes [time, time]"),
        ("m: bool[batch, t], additive mask of t", "is bool; an additive mask is float32"),
        ("n: int64[batch], padding lengths of t", "is not understood; expected: in LOW..HIGH"),
        ("x: float32[batch, t] in 3..1", "the range '3..1' is empty"),
        ("x: float32[batch, t] in 1..1", "is empty"),
        ("x: float32[batch, t] in -1e999..1e999", "is not finite"),
        ("x: int64[batch, t] in 0..1.5", "its range needs integers"),
        ("x: float32[batch, t], normal", "normal needs a range"),
        ("x: float32[batch, t], paddin 0", "'paddin 0' is not understood; expected: in LOW..HIGH"),
        ("x: float32[batch, t] in 0-3", "is not understood"),
        ("x: float32[batch, t], never", "lengths of AXIS, right, never empty, valid steps only"),
        ("x: int64[batch, t] in 0..3, may be nan", "'x' is int64, which has no NaN"),
    ],
)
def test_what_is_not_understood_is_quoted(text, message):
    with pytest.raises(UsageError) as error:
        line(text)
    assert message in str(error.value)


MODEL = InputDescription("x", "int32", (None, None, 4), 0.0, 9.0, padding=0.0)


def test_what_is_said_goes_before_what_is_inferred():
    described = line("x: [batch, time, ?] in 0..5").over(MODEL)
    assert described == InputDescription("x", "int32", ("batch", "time", 4), 0.0, 5.0, padding=0.0)
    assert line("x: [1, time, 4]").over(MODEL).axes == (1, "time", 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: int64[batch, time, 4]", "is int32 in the model; its description says int64"),
        ("x: [batch, time]", "has 3 axes in the model; its description has 2"),
        ("x: [batch, time, 5]", "axis 2 has the fixed size 4 in the model"),
        ("x: [batch, time, more]", "axis 2 has the fixed size 4 in the model"),
    ],
)
def test_what_contradicts_the_model_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        line(text).over(MODEL)


def test_axes_without_a_name_get_one():
    assert complete(MODEL, single=True).axes == ("batch", "sequence", 4)
    assert complete(MODEL, single=False).axes == ("batch", "x_length", 4)
    assert complete(InputDescription("a/b", "float32", (None, None, None)), False).axes == (
        "batch",
        "a_b_length",
        "a_b_length_2",
    )
    time_first = InputDescription("x", "float32", (None, "batch", 4))
    assert complete(time_first, True).axes == ("sequence", "batch", 4)


def test_the_upper_bound_becomes_the_one_that_is_excluded():
    described = complete(line("x: int64[batch, t] in 0..9, padding 0"), True)
    assert (described.low, described.high) == (1.0, 10.0)
    described = complete(line("x: int64[batch, t] in 0..9, padding 9"), True)
    assert (described.low, described.high) == (0.0, 9.0)
    described = complete(line("x: float32[batch, t] in 0..9"), True)
    assert (described.low, described.high) == (0.0, 9.0)
    assert (complete(line("x: float32[batch, t]"), True).low) == -1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: in 0..3", "needs a description of its dtype and axes"),
        ("x: int64", "needs a description of its axes"),
        ("x: int64[batch, t]", "needs its range"),
        ("n: int64[batch]", "'n: lengths of AXIS' for numbers of valid steps"),
        ("x: uint8[batch, t] in 0..256", "0..256 is beyond uint8"),
        ("x: int64[batch, t] in 0..9, padding 5", "padding 5 lies within 0..9"),
        ("x: int64[batch, t] in 0..0, padding 0", "nothing is left of its range"),
    ],
)
def test_what_is_lacking_is_told(text, message):
    with pytest.raises(UsageError) as error:
        complete(line(text), True)
    assert message in str(error.value)


def test_what_is_no_description_is_told():
    with pytest.raises(UsageError, match="inputs is 3; expected a description such as 'tokens"):
        description(3)


def test_the_same_from_the_api_and_from_toml(tmp_path):
    text = "int64[batch, t] in 0..9"
    path = tmp_path / "inputs.toml"
    path.write_text(f'lengths = [3, "5..7"]\n[inputs]\nx = "{text}"\n[states]\nh = "h_1"\n')
    expected = (line(f"x: {text}"),)
    for form in (f"x: {text}", [f"x: {text}"], {"x": text}, path, str(path), file(path)):
        assert description(form).inputs == expected
    assert description(None).inputs == ()
    assert file(path).lengths == ("3", "5..7")
    assert file(path).states == {"h": "h_1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs = [", "is not TOML"),
        ("extra = 1", "unknown key 'extra'; choose from: inputs, outputs"),
        ("inputs = 3", r"\[inputs\] expects lines"),
        ("[inputs]\nx = 3", r"\[inputs\] expects lines"),
        ('[inputs]\nx = "wrong"', "unknown dtype 'wrong'"),
        ("a = " + "[" * 100_000, "is not TOML"),
        ("batch = " + "9" * 5000, "is not TOML"),
        ("batch = 0x" + "f" * 5000, "for integer string conversion"),
        ('[inputs]\n"a\\nb" = "int64[batch]"', r"input's name: 'a\\nb'; expected .* printable"),
        ('[inputs]\nx = "float32[batch, 99999999999]"', "'99999999999' is neither a name nor a"),
        ('[inputs]\nx = "int64[batch] in 0..9, padding 1e999"', "padding 1e999 is not finite"),
        (f'[inputs]\nx = "{"x" * 1001}"', "expected at most 1000 characters"),
        ('outputs = ["\\u001b[2J"]', r"output's name: '\\x1b\[2J'; expected a name of printable"),
        ('[states]\nh = "a\\nb"', r"state's name: 'a\\nb'"),
        ('name = "../x"', "model's name: '../x'; expected a name of at most"),
    ],
    ids=lambda text: text[:30],
)
def test_a_toml_file_that_is_wrong_is_named(tmp_path, text, message):
    path = tmp_path / "inputs.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        file(path)
    assert str(error.value).startswith(str(path))
    with pytest.raises(UsageError, match="no such file"):
        file(Path("nothing.toml"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_pipe_is_no_description(tmp_path):
    os.mkfifo(tmp_path / "inputs.toml")
    with pytest.raises(UsageError, match="is a pipe; expected a file"):
        file(tmp_path / "inputs.toml")


def test_any_number_of_axes_gets_names():
    axes = complete(line("x: float32[?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?]"), True).axes
    assert (axes[0], axes[1], axes[-1], len(set(axes))) == ("batch", "sequence", "sequence_10", 11)


@pytest.mark.parametrize(
    ("text", "axis", "expected"),
    [
        ("time: multiple of 4", "time", AxisRule(4)),
        ("time: 8..512", "time", AxisRule(1, 8, 512)),
        ("time: multiple of 4, 8..512", "time", AxisRule(4, 8, 512)),
        ("frames = 4 * tokens", "frames", AxisRule(terms={"tokens": 4})),
        ("frames: 4*tokens + 1", "frames", AxisRule(terms={"tokens": 4}, plus=1)),
        ("target = source", "target", AxisRule(terms={"source": 1})),
    ],
)
def test_lines_of_axes(text, axis, expected):
    found = description([text, "x: float32[batch, time]"])
    assert found.rules == {axis: expected}
    assert [given.name for given in found.inputs] == ["x"]


def test_an_axis_is_written_as_a_sum():
    given = line("m: int64[batch, past + time], mask of past + time")
    assert given.axes == ("batch", "past_time")
    assert given.mask_of == "past_time"
    assert given.rules == {"past_time": AxisRule(terms={"past": 1, "time": 1})}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time: multiple of 0", "0 is no size"),
        ("time: multiple of 8, 9..15", "no multiple of 8 lies in 9..15"),
        ("time = 2 ** n", "'2 ** n' is not understood; expected: multiple of N, A..B, ="),
        ("time = time + 1", "names no other axis"),
    ],
)
def test_a_line_of_an_axis_that_is_not_understood(text, message):
    with pytest.raises(UsageError) as error:
        description(text)
    assert message in str(error.value)
