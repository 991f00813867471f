"""What only a description of the inputs can find, of each way to describe them.

An honest model passes, and the graph of one that differs in this alone is found against it.
"""

import json

import pytest

import harness

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

SIZES = [1, 2, 3, 5, 8, 17]
OF_RULES = {"multiple of 4": [4, 8, 20], "3..12": [3, 5, 8]}


class Net(nn.Module):
    """A table that is looked up, and a function of it and the inputs."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.function = nn.Embedding(12, 4), function
        self.last = nn.Linear(4, 3)

    def forward(self, x, y, z=None):
        others = [y] if z is None else [y, z]
        return self.last(self.function(self.embed, x, *others))


def mean(steps, valid, axis=1):
    """The mean of the valid steps, 0 where there is none."""
    weights = valid.to(steps.dtype)[..., None]
    return (steps * weights).sum(axis) / weights.sum(axis).clamp(min=1)


def both(embed, x, y):
    return mean(embed(x), x != 0) * mean(embed(y), y != 0)


def blind_to_the_second(embed, x, y):
    return mean(embed(x), x != 0) * embed(y).mean(1)


def time_first(embed, x, y):
    return mean(embed(x), x != 0, 0) + y


def blind_time_first(embed, x, y):
    return mean(embed(x), x > -1, 0) + y


def hidden(embed, x, y):
    return mean(embed(x), ~y)


def all_shown(embed, x, y):
    return mean(embed(x), y | ~y)


def weighed(embed, x, y):
    return (embed(x) * (embed(x).sum(-1) + y).softmax(1)[..., None]).sum(1)


def weighed_alike(embed, x, y):
    return (embed(x) * (embed(x).sum(-1) + 0 * y).softmax(1)[..., None]).sum(1)


def attended(embed, x, hidden, before=None):
    steps = embed(x)
    keys = steps if before is None else torch.cat([before, steps], 1)
    return (steps @ keys.transpose(1, 2)).masked_fill(hidden, -1e9).softmax(-1) @ keys


def attended_to_all(embed, x, hidden):
    return attended(embed, x, hidden & ~hidden)


def with_past(embed, x, y, z):
    return attended(embed, x, (y == 0)[:, None], z)


def with_all_of_the_past(embed, x, y, z):
    return attended(embed, x, (y > 1)[:, None], z)


def in_fours(embed, x, y):
    return embed(x).unflatten(1, (x.shape[1] // 4, 4)).mean(2) + y[:, None]


def first_of_fours(embed, x, y):
    return embed(x)[:, ::4] + y[:, None]


def each_repeated(embed, x, y):
    return embed(x).repeat_interleave(2, 1) * y


def all_repeated(embed, x, y):
    return embed(x).repeat(1, 2, 1) * y


def places(x):
    assert 3 <= x.shape[1] <= 12
    return torch.linspace(-1, 1, 12)[: x.shape[1], None]


def placed(embed, x, y):
    return embed(x) * places(x) + y[:, None]


def placed_up_to_ten(embed, x, y):
    return embed(x) * places(x).clamp(max=0.6) + y[:, None]


def window(embed, x, y):
    return embed(x).cumsum(1)[:, -1] + y


def window_but_the_last(embed, x, y):
    return window(embed, x[:, :-1], y)


TOKENS = "int64[batch, time] in 0..11"
DESCRIBED = {
    "two padded inputs": (
        {"x": f"{TOKENS}, padding 0", "y": "int64[batch, other] in 0..11, padding 0"},
        both,
        blind_to_the_second,
    ),
    "padding of steps that come first": (
        {"x": "int64[time, batch] in 0..11, padding 0", "y": "float32[batch, 4]"},
        time_first,
        blind_time_first,
    ),
    "a padding mask": (
        {"x": TOKENS, "y": "bool[batch, time], padding mask of time"},
        hidden,
        all_shown,
    ),
    "a causal mask": (
        {"x": TOKENS, "y": "bool[time, time], causal padding mask of time"},
        attended,
        attended_to_all,
    ),
    "a mask over the past and the present": (
        {
            "x": TOKENS,
            "y": "int64[batch, past + time], mask of past + time",
            "z": "float32[batch, past, 4]",
        },
        with_past,
        with_all_of_the_past,
    ),
    "a multiple": (
        {"x": TOKENS, "y": "float32[batch, 4]", "time": "multiple of 4"},
        in_fours,
        first_of_fours,
    ),
    "an axis that follows from another": (
        {"x": TOKENS, "y": "float32[batch, frames, 4]", "frames": "2 * time"},
        each_repeated,
        all_repeated,
    ),
    "a bounded axis": (
        {"x": TOKENS, "y": "float32[batch, 4]", "time": "3..12"},
        placed,
        placed_up_to_ten,
    ),
    "a fixed window": (
        {"x": "int64[batch, 24] in 0..11", "y": "float32[batch, 4]"},
        window,
        window_but_the_last,
    ),
    "an additive mask": (
        {"x": TOKENS, "y": "float32[batch, time], additive mask of time"},
        weighed,
        weighed_alike,
    ),
}


class Language(nn.Module):
    """An LSTM whose state is a tuple; a faulty one has its parts exchanged."""

    def __init__(self, exchanged):
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.exchanged = nn.LSTM(4, 5), exchanged

    def forward(self, x, state):
        return self.lstm(x, state[::-1] if self.exchanged else state)


def test_the_parts_of_a_tuple_are_told_apart(tmp_path):
    part = "float32[1, batch, 5]"
    inputs = {"x": "float32[time, batch, 4]", "state.0": part, "state.1": part}
    options = {"inputs": inputs, "lengths": SIZES}
    assert harness.export(Language(False), tmp_path / "honest", **options).conforms
    assert harness.export(Language(True), tmp_path / "faulty", **options).conforms
    theirs = tmp_path / "faulty/model.onnx"
    assert not harness.export(Language(False), tmp_path / "judged", onnx=theirs, **options).conforms


def judged(folder, function, inputs, **options):
    lengths = OF_RULES.get(inputs.get("time", ""), SIZES)
    return harness.export(Net(function), folder, inputs=inputs, lengths=lengths, **options)


@pytest.mark.parametrize("name", DESCRIBED)
def test_an_honest_model_passes_and_one_that_differs_there_alone_is_found(tmp_path, name):
    inputs, honest, faulty = DESCRIBED[name]
    report = judged(tmp_path / "honest", honest, inputs)
    assert report.conforms, report
    assert judged(tmp_path / "faulty", faulty, inputs).conforms
    theirs = tmp_path / "faulty/model.onnx"
    report = judged(tmp_path / "judged", honest, inputs, onnx=theirs)
    assert not report.conforms


def test_of_a_fixed_window_no_other_length_is_claimed(tmp_path):
    inputs, honest, _ = DESCRIBED["a fixed window"]
    assert judged(tmp_path / "honest", honest, inputs).conforms
    manifest = json.loads((tmp_path / "honest/manifest.json").read_text())
    told = "other lengths: no input has steps that vary, x[batch, 24], y[batch, 4]"
    assert manifest["refused"] == [f"{told}: it takes this alone"]


def test_the_fault_shows_in_the_padding_of_the_second_input_alone(tmp_path):
    inputs, honest, faulty = DESCRIBED["two padded inputs"]
    one = {**inputs, "y": "int64[batch, other] in 1..11"}
    assert judged(tmp_path / "faulty", faulty, one).conforms
    theirs = tmp_path / "faulty/model.onnx"
    assert judged(tmp_path / "one", honest, one, onnx=theirs).conforms
