"""What only a description of the inputs can find, of each way to describe them.

An honest model passes, and the graph of one that differs in this alone is found against it.
"""

import pytest

import harness

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

SIZES = [1, 2, 3, 5, 8, 17]


class Net(nn.Module):
    """A table that is looked up, and a function of it and the inputs."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.function = nn.Embedding(12, 4), function
        self.last = nn.Linear(4, 3)

    def forward(self, x, y):
        return self.last(self.function(self.embed, x, y))


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
    return harness.export(Net(function), folder, inputs=inputs, lengths=SIZES, **options)


@pytest.mark.parametrize("name", DESCRIBED)
def test_an_honest_model_passes_and_one_that_differs_there_alone_is_found(tmp_path, name):
    inputs, honest, faulty = DESCRIBED[name]
    report = judged(tmp_path / "honest", honest, inputs)
    assert report.conforms, report
    assert judged(tmp_path / "faulty", faulty, inputs).conforms
    theirs = tmp_path / "faulty/model.onnx"
    report = judged(tmp_path / "judged", honest, inputs, onnx=theirs)
    assert not report.conforms


def test_the_fault_shows_in_the_padding_of_the_second_input_alone(tmp_path):
    inputs, honest, faulty = DESCRIBED["two padded inputs"]
    one = {**inputs, "y": "int64[batch, other] in 1..11"}
    assert judged(tmp_path / "faulty", faulty, one).conforms
    theirs = tmp_path / "faulty/model.onnx"
    assert judged(tmp_path / "one", honest, one, onnx=theirs).conforms
