"""A user's own live models: exported, judged and shipped, or refused."""

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import harness
from harness.core.errors import UsageError
from harness.goldens import store
from harness.validate import main

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

from tests.support import own_keras, own_torch  # noqa: E402
from tests.support.own_shipping import axes, kinds, refused  # noqa: E402
from tests.support.own_torch import FRAMES, LENGTHS, TOKENS  # noqa: E402

ON_FRAMES = {"x": ["batch", "time", 4]}
TORCH = {
    "named tuple": (
        own_torch.tuples,
        FRAMES,
        ON_FRAMES | {"steps": ["batch", "time", 5], "last": [1, "batch", 5]},
    ),
    "dict, an integer": (
        lambda: own_torch.Net(lambda y, h: {"y": y, "best": y.argmax(-1)}),
        FRAMES,
        ON_FRAMES | {"y": ["batch", "time", 5], "best": ["batch", "time"]},
    ),
    "dropout, left in training": (
        own_torch.Drops,
        FRAMES,
        ON_FRAMES | {"output": ["batch", "time", 5]},
    ),
    "float32 by name": (own_torch.Casts, FRAMES, ON_FRAMES | {"output": ["batch", "time", 3]}),
    "stride": (
        lambda: own_torch.Conv(3, 16, 1),
        FRAMES,
        ON_FRAMES | {"output": ["batch", "output_steps", 5]},
    ),
    "time first": (
        own_torch.TimeFirst,
        "frames: float32[time, batch, 4]",
        {"frames": ["time", "batch", 4], "output": ["time", "batch", 5]},
    ),
    "two lengths": (
        own_torch.TwoLengths,
        ["source: float32[batch, s, 4]", "target: float32[batch, t, 3]"],
        {
            "source": ["batch", "s", 4],
            "target": ["batch", "t", 3],
            "context": ["batch", "t", 5],
            "weights": ["batch", "t", "s"],
        },
    ),
    "a mask, an input by name": (
        own_torch.MeanOfValid,
        [
            "frames: float32[batch, time, 4], padding -2",
            "mask: float32[batch, time], mask of time",
            "gain: float32[5] in 1..2",
        ],
        {"frames": ["batch", "time", 4], "mask": ["batch", "time"], "gain": [5]}
        | {"output": ["batch", 5]},
    ),
    "packed": (
        own_torch.packed,
        [TOKENS, LENGTHS],
        {"tokens": ["batch", "time"], "lengths": ["batch"], "output": ["batch", "time", 5]},
    ),
    "packed, as long as the longest row": (
        lambda: own_torch.Packed(total=False),
        [TOKENS, LENGTHS],
        {"tokens": ["batch", "time"], "lengths": ["batch"], "output": ["batch", "output_steps", 5]},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCH)
def test_a_live_pytorch_model_is_shipped(ship, name):
    make, inputs, expected = TORCH[name]
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folder, report = ship(model, inputs)
    assert axes(folder) == expected
    assert report.comparisons >= 5
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


KERAS = {
    "masked BiLSTM": (own_keras.bilstm, None, {"tags": ["batch", "sequence", 3]}, 5),
    "sequential": (own_keras.sequential, None, {"output": ["batch", 3]}, 1),
    "custom layer": (own_keras.custom, None, {"scaled": ["batch", "sequence", 5]}, 1),
    "subclassed": (
        own_keras.Tagger,
        "tokens: int32[batch, time] in 0..19, padding 0",
        {"tags": ["batch", "time", 3]},
        5,
    ),
    "masking": (own_keras.masking, None, {"steps": ["batch", "sequence", 5]}, 5),
    "strided": (own_keras.strided, None, {"steps": ["batch", "steps_steps", 5]}, 1),
    "tokens that are floats": (own_keras.float_tokens, None, None, 5),
    "a mask, dicts": (
        own_keras.masks,
        {"x": "[batch, time, 4], padding 0, right", "mask": "[batch, time], mask of time"},
        {"last": ["batch", 5]},
        3,
    ),
    "a lambda of the user's own": (own_keras.lambdas, None, None, 1),
    "casts to float32": (own_keras.casting, None, None, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KERAS)
def test_a_live_keras_model_is_shipped(ship, name):
    make, inputs, expected, raggedness = KERAS[name]
    model = make()
    before = model.get_weights()
    folder, _ = ship(model, inputs, lengths=[1, 3, 9])
    for output, names in (expected or {}).items():
        assert axes(folder)[output] == names
    assert len(kinds(folder)) == raggedness
    for old, new in zip(before, model.get_weights(), strict=False):
        np.testing.assert_array_equal(old, new)


def test_a_mean_that_a_layer_was_adapted_to_is_proved(ship):
    """Without it a graph is some hundredths off, which no rounding explains."""
    other, _ = ship(own_keras.normalised(adapted=False), lengths=[1, 3, 9], name="other")
    theirs = other.parent / "theirs.onnx"
    shutil.copy(other / "model.onnx", theirs)
    model = own_keras.normalised()
    ship(model, lengths=[1, 3, 9])
    ship(model, lengths=[1, 3, 9], onnx=theirs, conforms=False)


def test_sizes_that_the_model_itself_refuses_are_told_and_not_compared(ship):
    folder, report = ship(own_torch.Conv(12, 1), FRAMES)
    assert [text.partition(",")[0] for text in refused(folder)] == [
        "time=1",
        "time=2",
        "time=3",
        "time=8",
    ]
    assert "Kernel size" in refused(folder)[0]
    assert "## Not compared" in (folder / "MODEL.md").read_text()
    assert {case.case.lengths["time"] for case in report.results[0].cases} == {17}


@pytest.mark.parametrize("lengths", [[3, 5], [5]])
def test_lengths_that_are_also_a_batch_or_a_feature_confuse_nothing(ship, lengths):
    folder, _ = ship(own_torch.Net(lambda y, h: y), FRAMES, lengths=lengths)
    assert axes(folder)["output"] == ["batch", "time", 5]


@pytest.mark.parametrize("steps", [5, 7])
def test_a_constant_of_the_model_that_is_a_size_of_the_example_is_not_baked(ship, steps):
    """The usual example has a batch of 5 and a length of 7."""
    folder, _ = ship(own_torch.Decoder(steps), FRAMES)
    example = json.loads((folder / "manifest.json").read_text())["example"]
    assert not {5, 7} & {*example.values()}


def test_a_length_that_is_baked_is_so_at_any_example(ship):
    _, report = ship(own_torch.Decoder(0), FRAMES, exporter="torch-script", conforms=False)
    (result,) = report.results
    assert result.stage.value == "check"
    assert result.reason.startswith("baked-length")


@pytest.mark.parametrize(("factor", "conforms"), [("none", True), ("some", False)])
def test_a_deployed_graph_is_judged_by_its_runs_and_not_by_an_example_it_never_had(
    ship, shipped, tmp_path, factor, conforms
):
    """A range of seven is in the graph, and changes nothing, or the outputs."""
    model = shipped[1]
    nodes, (y,) = model.graph.node, [value.name for value in model.graph.output]
    for node in nodes:
        node.output[:] = ["before" if name == y else name for name in node.output]
    for name, value in {"limit": 7, "start": 0, "none": 0, "some": 1}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    make = onnx.helper.make_node
    nodes.extend(
        [
            make("Range", ["start", "limit", "some"], ["days"]),
            make("Mul", ["days", factor], ["much"]),
            make("ReduceMax", ["much"], ["most"], keepdims=0),
            make("CastLike", ["most", "before"], ["number"]),
            make("Add", ["before", "number"], [y]),
        ]
    )
    onnx.save(model, tmp_path / "theirs.onnx")
    live = own_torch.Net(lambda y, h: y)
    folder, report = ship(live, FRAMES, onnx=tmp_path / "theirs.onnx", conforms=conforms)
    if conforms:
        assert json.loads((folder / "manifest.json").read_text())["example"] == {}
    assert report.results[0].stage.value == "compare"


@pytest.mark.parametrize("mean", [True, False])
def test_what_pytorchs_encoder_does_under_its_mask_is_no_promise(ship, mean):
    folder, _ = ship(own_torch.Encoder(mean), f"{TOKENS}, right", lengths=[1, 3, 8])
    told = refused(folder)
    assert told[0].startswith("rows without a valid step: PyTorch's fast paths of attention")
    assert kinds(folder) == {"none", "right"}
    if mean:
        assert len(told) == 1
        return
    assert "padded steps of output, of " in told[1]
    report = harness.validate(folder)
    left_out = report.results[0].evidence["padded_steps_left_out"]["output"]
    assert told[1].startswith(f"{left_out} padded steps of output, of ")
    assert "padded steps of output" in (folder / "MODEL.md").read_text()


def test_words_that_leave_out_rows_and_padded_steps(ship):
    words = f"{TOKENS}, right, never empty, valid steps only"
    folder, _ = ship(own_torch.Encoder(False), words, lengths=[1, 3, 8])
    spec = store.read(folder / "golden").spec
    assert (spec.never_empty, spec.valid_only) == (True, True)
    assert refused(folder)[0] == "rows without a valid step: described as 'never empty'"
    assert refused(folder)[1].endswith(": described as 'valid steps only'")


def test_positions_do_not_claim_padding_on_the_left(ship):
    folder, _ = ship(own_torch.Encoder(True), TOKENS, lengths=[3, 8, 16])
    assert store.read(folder / "golden").spec.unchanged == ("right",)
    assert "left" in kinds(folder)
    assert (
        main([str(folder), "--relation", "padding", "-q", "--report-dir", str(folder.parent)]) == 0
    )


UNFIT = {
    "keeps a state": (own_torch.Keeps, "keeps a state between calls"),
    "random": (lambda: own_torch.Drops(always=True), "draws random"),
    "half": (lambda: own_torch.net().half(), "is not float32"),
    "an output named as an input": (
        lambda: own_torch.Net(lambda y, h: {"x": y}),
        "'x' has the name of another output or of an input",
    ),
    "keras, stateful": (own_keras.stateful, "keeps a state between calls"),
    "keras, half": (own_keras.half, "computes in float16"),
    "keras, casts": (lambda: own_keras.casting(itself=True), "casts to float32"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_model_that_cannot_be_judged_is_refused(ship, tmp_path, name):
    make, told = UNFIT[name]
    inputs = None if "keras" in name else FRAMES
    with pytest.raises(UsageError, match=told):
        ship(make(), inputs)
    assert not list(tmp_path.iterdir())
