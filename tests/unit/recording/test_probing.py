"""What a user model takes and gives, found by running it: with models of NumPy alone."""

import re

import numpy as np
import pytest

from harness.core.errors import UsageError
from harness.core.schema import Case, Raggedness, RowLengths
from harness.goldens.noise_floor import JITTERED
from harness.recording import cases as usual
from harness.recording.probing import specification
from harness.recording.runs import measure
from harness.subjects.describe import line
from harness.subjects.description import ModelDescription
from reference_models import cases

FRAMES = "x: float32[batch, time, 4]"


class Net:
    """A function of arrays by name as a model, which knows nothing of its inputs."""

    framework = class_name = "net"

    def __init__(self, function, drift=1e-7):
        self.function, self.drift, self.factor, self.moves = function, drift, 1.0, []

    def inputs(self):
        return []

    def arrange(self, names):
        return list(names)

    def run(self, inputs, wide):
        inputs = {n: v.astype("float64") if v.dtype.kind == "f" else v for n, v in inputs.items()}
        outputs = self.function(**inputs)
        outputs = list(outputs.items()) if isinstance(outputs, dict) else [("", outputs)]
        if wide:
            return outputs
        near = 1 + self.drift
        return [(n, (v * near).astype("float32") if v.dtype.kind == "f" else v) for n, v in outputs]

    def move(self, change):
        self.moves.append(change)


def probed(function, *lines, lengths=(1, 7, 9), batches=(1, 3), outputs=()):
    described = ModelDescription(tuple(map(line, lines)), outputs)
    return specification(Net(function), described, "net", lengths, batches)


def axes(spec):
    return {tensor.name: tensor.axes for tensor in spec.outputs}


def test_names_and_axes_of_outputs():
    spec = probed(lambda x: {"y": x[:, :, :3], "last": x[:, -1], "n": np.zeros(5)}, FRAMES)
    assert axes(spec) == {"y": ("batch", "time", 3), "last": ("batch", 4), "n": (5,)}
    assert [tensor.dtype for tensor in spec.outputs] == ["float32"] * 3
    assert axes(probed(lambda x: x, FRAMES)) == {"output": ("batch", "time", 4)}
    assert axes(probed(lambda x: x, FRAMES, outputs=("y",))) == {"y": ("batch", "time", 4)}


def test_axes_that_follow_from_another_have_a_name_of_their_own():
    spec = probed(lambda x: {"y": x[:, ::16], "z": x[:, 2:] @ x[:, 4:].swapaxes(1, 2)}, FRAMES)
    assert axes(spec) == {"y": ("batch", "y_steps", 4), "z": ("batch", "z_steps", "z_steps_2")}
    named = probed(lambda x: {"time": x[:, ::2], "y": x[:, ::2]}, FRAMES)
    assert axes(named)["y"] == ("batch", "time_steps", 4)


def test_padding_tells_an_output_as_long_as_the_longest_row():
    def longest(x, n):
        return {"y": x[:, : n.max()]}

    spec = probed(longest, FRAMES, "n: int64[batch], lengths of time")
    assert axes(spec) == {"y": ("batch", "y_steps", 4)}


@pytest.mark.parametrize("lengths", [(3, 5), (3,), (5,)])
@pytest.mark.parametrize("only", [None, 3])
def test_sizes_that_are_alike_are_told_apart(lengths, only):
    def net(x):
        if only and x.shape[1] not in lengths:
            raise ValueError("no such length")
        return {"y": x, "z": np.zeros((11 if only else 5, 6))}

    spec = probed(net, FRAMES, lengths=lengths)
    assert axes(spec) == {"y": ("batch", "time", 4), "z": (11 if only else 5, 6)}


def test_a_batch_that_the_user_asks_for_is_tried_too():
    def alone(x):
        assert len(x) == 1, "one row alone"
        return x

    assert axes(probed(alone, FRAMES, batches=(1,)))["output"][1:] == ("time", 4)
    with pytest.raises(UsageError, match="one row alone"):
        probed(alone, FRAMES, batches=(2,))


@pytest.mark.parametrize(
    ("function", "lines", "expected"),
    [
        (lambda x: 1 / 0, [FRAMES], "does not run at time=13, batch=3: ZeroDivisionError"),
        (
            lambda x, y: np.append(x, y, 2),
            [FRAMES, "y: float32[batch, t, 4]"],
            "name an axis that inputs share",
        ),
        (lambda x: {"x": x}, [FRAMES], "'x' has the name of another output or of an input"),
        (lambda x: x, ["x: float32[24, 4]"], "no input has an axis that varies: x[24, 4]"),
        (lambda x: x, [FRAMES, "m: float32[batch, t], mask of u"], "mask of u, but the sequence"),
        (lambda x: x, [FRAMES, "m: float32[t, 2], mask of t"], "a mask has axes"),
        (lambda x: x, [FRAMES, "n: int64[batch, 2], lengths of time"], "lengths have axes"),
        (lambda x: x, ["x: float32[2, batch, time], padding 0"], "padding needs axes"),
    ],
)
def test_what_does_not_fit_is_told(function, lines, expected):
    with pytest.raises(UsageError) as error:
        probed(function, *lines)
    assert expected in str(error.value)


def test_several_padded_inputs_have_rows_of_their_own():
    source = "s: int64[batch, from] in 0..9, padding 0"
    target = "t: int64[to, batch] in 0..9, padding 9"
    hidden = "m: float32[to, batch], padding mask of to"
    spec = probed(lambda s, t, m: s.sum(1) + t.sum(0), source, target, hidden)
    assert spec.ragged_axes == ("from", "to")
    assert spec.paddings == {"s": 0, "t": 9}
    case = Case({"from": 8, "to": 6}, 4, Raggedness.GAPPED, rows=RowLengths.MIXED)
    values = cases.drawn(spec, case, 1)[1]
    valid = {axis: spec.valid_steps(values, axis) for axis in spec.ragged_axes}
    assert valid["from"].shape == (4, 8)
    np.testing.assert_array_equal(valid["to"].T, values["t"] != 9)
    np.testing.assert_array_equal(valid["to"].T, values["m"] == 0)
    full = {axis: [*map(int, np.flatnonzero(v.all(axis=1)))] for axis, v in valid.items()}
    assert full["from"]
    assert full["from"] != full["to"], "rows are full at one axis where another is padded"
    moved = spec.padded_outside(values, np.ones((4, 6), bool), "to")
    assert not moved["m"].any()
    np.testing.assert_array_equal(moved["s"], values["s"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [((1, 100, 101, 800), [100, 800]), ((500, 501), [13, 128]), (usual.LENGTHS, [13, 128])],
)
def test_sizes_are_probed_where_the_users_lengths_are_farthest_apart(given, expected):
    seen = []

    def noted(x):
        seen.append(x.shape[1])
        return x

    probed(noted, FRAMES, lengths=given)
    assert seen == expected


def test_lengths_farthest_apart_are_tried_where_the_usual_ones_do_not_run():
    seen = []

    def long_only(x):
        seen.append(x.shape[1])
        return x if 500 <= x.shape[1] <= 600 else 1 / 0

    probed(long_only, FRAMES, lengths=(500, 501, 600))
    assert seen[-2:] == [500, 600]


def masked_sum(x, m):
    return (x * m[..., None]).sum(1)


def test_a_mask_of_the_other_polarity_is_told():
    assert probed(masked_sum, FRAMES, "m: float32[batch, time], mask of time").marks == {}
    with pytest.raises(UsageError, match=r"input 'm': the model reads .* 'mask of time'$"):
        probed(masked_sum, FRAMES, "m: float32[batch, time], padding mask of time")
    with pytest.raises(UsageError, match=r"expected 'padding mask of time'$"):
        probed(lambda x, m: masked_sum(x, ~m), FRAMES, "m: bool[batch, time], mask of time")


def test_what_a_model_says_of_padding_is_switched_off():
    model = Net(lambda x: x)
    model.inputs = lambda: [line("x: int64[batch, time] in 0..9, padding 0")]
    described = ModelDescription((line("x: no padding"),))
    spec = specification(model, described, "net", (1, 7), (1, 3))
    assert spec.ragged is None
    assert spec.inputs[0].low == 0


def table(size):
    return lambda tokens: np.arange(float(size))[tokens]


def test_the_ends_of_a_range_are_tried():
    text = "tokens: int64[batch, time] in {}..{}, padding {}"
    assert probed(table(10), text.format(0, 9, 0)).padded == "tokens"
    with pytest.raises(UsageError, match=r"refuses 1000, described as within 1\.\.1000: IndexErr"):
        probed(table(1000), text.format(0, 1000, 0))
    with pytest.raises(UsageError, match="refuses its padding -20"):
        probed(table(10), text.format(0, 9, -20))


def test_a_length_apart_from_padding():
    lines = ["tokens: int64[batch, time] in 0..9, padding 0", "n: int64[], lengths of out"]
    spec = probed(lambda tokens, n: np.zeros((len(tokens), int(n))), *lines)
    assert axes(spec) == {"output": ("batch", "out")}
    with pytest.raises(UsageError, match="no input or output has an axis out as long as it"):
        probed(lambda tokens, n: tokens, *lines)


def measured(net, spec, *cases):
    return measure(net, spec, [Case({"time": n}, 2) for n in cases], lambda text: None)[:2]


def test_what_is_measured():
    net = Net(lambda x: 3.0 * x)
    results, refused = measured(net, probed(net.function, FRAMES), 2, 5)
    assert not refused
    assert len(net.moves) == JITTERED + 1
    for result in results:
        assert 1e-7 < result.noise["output"] < 1e-6
        assert result.outputs["output"].dtype == np.float64


def test_what_cannot_be_judged_is_told_with_its_sizes():
    def short(x):
        if x.shape[1] > 5:
            raise ValueError("too long")
        return x

    spec = probed(lambda x: x, FRAMES)
    results, refused = measured(Net(short), spec, 2, 7, 9)
    assert [result.case.lengths["time"] for result in results] == [2]
    assert refused == ["time=7, batch=2 and 1 more: ValueError: too long (in float64)"]
    with pytest.raises(UsageError, match="judged at none of the sizes; time=7"):
        measured(Net(short), spec, 7)


def test_rounding_that_makes_a_comparison_meaningless():
    spec = probed(lambda x: x, FRAMES)
    with pytest.raises(UsageError, match="rounding alone moves output by"):
        measured(Net(lambda x: x, drift=0.01), spec, 3)


def test_an_integer_that_rounding_changes_is_not_judged():
    class Flips(Net):
        def run(self, inputs, wide):
            return [("", np.full((2, 3), int(wide)))]

    spec = probed(lambda x: np.zeros((2, 3), np.int64), FRAMES)
    with pytest.raises(UsageError, match="rounding alone changes output"):
        measured(Flips(None), spec, 3)


@pytest.mark.parametrize("size", [1e-8, 1.0])
def test_another_output_each_time_is_refused(size):
    calls = iter(range(10**6))
    spec = probed(lambda x: x, FRAMES)
    with pytest.raises(UsageError, match="another 'output' for the same inputs"):
        measured(Net(lambda x: x + size * next(calls)), spec, 3)


def test_a_model_is_left_as_it_was_when_a_run_ends_early():
    class Breaks(Net):
        def run(self, inputs, wide):
            if not wide:
                raise KeyboardInterrupt
            return super().run(inputs, wide)

    net = Breaks(lambda x: x)
    with pytest.raises(KeyboardInterrupt):
        measured(net, probed(lambda x: x, FRAMES), 3)
    assert net.moves[-1]({"w": 1}) == {"w": 1}


def test_an_output_of_another_shape_than_at_first_is_refused():
    spec = probed(lambda x: x[:, :6] if x.shape[1] > 6 else x[:, :1], FRAMES, lengths=(9, 13))
    assert axes(spec)["output"] == ("batch", 6, 4)
    with pytest.raises(UsageError, match=r"output 'output' is \[2, 1, 4\] at time=3, batch=2"):
        measured(Net(lambda x: x[:, :6] if x.shape[1] > 6 else x[:, :1]), spec, 3)


def test_a_milder_padding_is_tried_where_one_is_refused():
    def counted(x, n):
        if (n == 0).any():
            raise ValueError("an empty row")
        return x

    spec = probed(counted, FRAMES, "n: int64[batch], lengths of time")
    case = Case({"time": 5}, 2, Raggedness.EMPTY)
    results, refused, _ = measure(Net(counted), spec, [case], lambda text: None)
    assert [result.case.raggedness for result in results] == [Raggedness.RIGHT]
    assert refused == ["time=5, batch=2, padding empty: ValueError: an empty row (in float64)"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (
            lambda x: np.full_like(x, np.nan),
            "is finite nowhere; there is nothing to compare",
        ),
    ],
)
def test_outputs_that_say_nothing_are_not_judged(function, reason):
    net = Net(function)
    with pytest.raises(UsageError, match=re.escape(reason)):
        measured(net, probed(function, FRAMES), 5)


@pytest.mark.parametrize("fill", [-1e9, 1e30])
def test_a_fill_is_judged_beside_the_rest_and_its_rounding_is_its_own(fill):
    net = Net(lambda x: np.where(x > 0, 3 * x, fill))
    results, refused = measured(net, probed(net.function, FRAMES), 5)
    assert len(results) == 1
    assert not refused
    noise = {band: noise for band, (_, noise) in results[0].bands["output"].items()}
    assert all(noise[band] < 1e-6 for band in noise if band < 2)


def test_randomness_at_long_lengths_alone_is_seen():
    rng = np.random.default_rng(0)

    def noisy(x):
        return x + (rng.random() if x.shape[1] > 5 else 0)

    spec = probed(lambda x: x, FRAMES)
    with pytest.raises(UsageError, match="draws random numbers or keeps a state"):
        measured(Net(noisy), spec, 2, 5, 9)
