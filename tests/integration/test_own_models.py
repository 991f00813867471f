"""A user's own models: exported, judged and shipped, from files, factories and live objects.

What a command does in a child is done here in this process, so that the frameworks load once; a
few tests at the end start the commands themselves.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import harness
from harness.core.errors import UnavailableError, UsageError
from harness.core.results import Status
from harness.goldens import store
from harness.graphs.edit import Edit
from harness.processes.worker import LostError
from harness.recording import in_child, loading
from harness.recording import user_model as making
from harness.runtimes import RUNTIMES
from harness.shipping import user_model as owning
from harness.validate import main

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

from tests.support import own_keras, own_torch  # noqa: E402
from tests.support.own_torch import FRAMES, LENGTHS, TOKENS  # noqa: E402
from tests.support.processes import ends  # noqa: E402

ROOT = Path(__file__).parents[2]
NETS = ROOT / "tests/support"
SIZES = [1, 2, 3, 8, 17]


def in_this_process(order, progress, seconds=None):
    making.make(loading.load(order.source, order.weights), order.settings, order.folder, progress)


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Exports to a folder and gives it, the manifest and the golden of what was shipped."""
    monkeypatch.setattr(in_child, "make", in_this_process)

    def shipped(subject, inputs=None, lengths=SIZES, conforms=True, **options):
        folder = tmp_path / "bundle"
        report = harness.export(subject, folder, inputs=inputs, lengths=lengths, **options)
        assert report.conforms is conforms
        assert (folder / "model.onnx").exists() is conforms
        return folder, report

    return shipped


def axes(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["tolerance"]["ort-cpu"]
    return manifest["axes"]


def kinds(folder):
    return {case.raggedness.value for case in store.read(folder / "golden").cases}


def refused(folder):
    return json.loads((folder / "manifest.json").read_text())["refused"]


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


DOCUMENT = "document: int32[batch, sentences, words] in 0..19"
NATIVE = {
    "ConvLSTM": (own_keras.convolutional, None, {"Loop": 1, "LSTM": 1}),
    "masked ConvLSTM": (
        lambda: own_keras.convolutional(masked=True),
        "x: float32[batch, time, 6, 2], padding 0",
        {"Loop": 1},
    ),
    "dilated ConvLSTM": (
        lambda: own_keras.convolutional(dilation_rate=2),
        None,
        {"Loop": 1, "LSTM": 1},
    ),
    "ConvLSTM both ways": (
        lambda: own_keras.convolutional(keras.layers.Bidirectional),
        None,
        {"Loop": 2, "LSTM": 1},
    ),
    "ConvLSTM of images": (own_keras.images, None, {"Loop": 1}),
    "sentences in time": (own_keras.documents, DOCUMENT, {"LSTM": 1, "GRU": 1}),
    "attention in time": (lambda: own_keras.documents(True), DOCUMENT, {"GRU": 4}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NATIVE)
def test_recurrences_within_recurrences_are_native(ship, name):
    make, inputs, nodes = NATIVE[name]
    folder, _ = ship(make(), inputs, lengths=[1, 2, 5, 9], strict=True)
    graph = onnx.load(folder / "model.onnx").graph
    recurrent = [n.op_type for n in graph.node if n.op_type in ("LSTM", "GRU", "RNN", "Loop")]
    assert Counter(recurrent) == nodes


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["tf2onnx", "keras-export"])
@pytest.mark.parametrize("name", ["sequential", "custom layer", "subclassed", "a mask, dicts"])
def test_a_stock_exporter_takes_a_keras_model_of_ones_own(ship, name, exporter):
    make, inputs, expected, _ = KERAS[name]
    folder, report = ship(make(), inputs, lengths=[1, 3, 9], exporter=exporter)
    for output, names in (expected or {}).items():
        assert axes(folder)[output] == names
    assert json.loads((folder / "manifest.json").read_text())["exporter"] == exporter
    assert report.comparisons >= 3


@pytest.mark.slow
def test_keras_models_fall_back_to_tf2onnx(ship, tmp_path):
    """Of a cell of one's own, the loop stays."""
    folder, _ = ship(own_keras.own_cell(), lengths=[1, 3, 9])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["exporter"] == "tf2onnx"
    place = "at tests/support/own_keras.py"
    assert f"layer 'own': cell OwnCell has no ONNX equivalent {place}" in manifest["instead"]
    with pytest.raises(UsageError, match="layer 'own': cell OwnCell"):
        harness.export(own_keras.own_cell(), tmp_path / "strict", lengths=[1, 3, 9], strict=True)


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


def test_a_state_dict_in_either_format_is_loaded(ship, tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(7)
    trained = own_torch.net()
    for value in trained.parameters():
        value.data.uniform_(-1, 1)
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    x = torch.randn(2, 6, 4)
    import onnxruntime

    for name in ("w.pt", "w.safetensors"):
        folder, _ = ship(f"{NETS}/own_torch.py:tuples", FRAMES, weights=tmp_path / name)
        session = onnxruntime.InferenceSession(folder / "model.onnx")
        found = session.run(["steps"], {"x": x.numpy()})[0]
        np.testing.assert_allclose(found, trained.gru(x)[0].detach(), atol=1e-5)


def test_weights_of_another_model_are_refused(ship, tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"w\.pt (lacks|has, and)"):
        ship(f"{NETS}/own_torch.py:net", FRAMES, weights=tmp_path / "w.pt")


def test_keras_files_and_weights(ship, tmp_path):
    model = own_keras.bilstm()
    for variable in model.weights:
        variable.assign(variable * 1.5)
    model.save(tmp_path / "own.keras")
    model.save_weights(tmp_path / "own.weights.h5")
    first, _ = ship(str(tmp_path / "own.keras"), lengths=[1, 4])
    hashes = sorted(store.read(first / "golden").manifest["weights"]["tensors"].values())
    factory = f"{NETS}/own_keras.py:bilstm"
    again, _ = ship(factory, lengths=[1, 4], weights=tmp_path / "own.weights.h5", name="own")
    stored = store.read(again / "golden")
    assert stored.manifest["subject"] == factory
    assert sorted(stored.manifest["weights"]["tensors"].values()) == hashes


def test_an_exported_program(ship, tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    batch, time = torch.export.Dim("b", min=2, max=64), torch.export.Dim("t", min=2, max=512)
    example = (torch.randn(3, 7, 4),)
    shapes = ({0: batch, 1: time},)
    torch.export.save(
        torch.export.export(model, example, dynamic_shapes=shapes), tmp_path / "a.pt2"
    )
    folder, _ = ship(str(tmp_path / "a.pt2"), lengths=[2, 5, 9])
    assert axes(folder)["input"] == ["batch", "sequence", 4]
    torch.export.save(torch.export.export(model, example), tmp_path / "baked.pt2")
    with pytest.raises(UsageError, match=r"no input has an axis that varies: input\[3, 7, 4\]"):
        ship(str(tmp_path / "baked.pt2"))


def test_a_script(ship, tmp_path):
    class Steps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = own_torch.net().gru

        def forward(self, x):
            return self.gru(x)[0]

    torch.jit.trace(Steps().eval(), torch.randn(3, 7, 4)).save(tmp_path / "script.pt")
    folder, _ = ship(str(tmp_path / "script.pt"), FRAMES, exporter="torch-script")
    assert axes(folder)["output"] == ["batch", "time", 5]


@pytest.fixture
def shipped(ship):
    """A GRU's bundle, its model and how it is exported again."""
    folder, _ = ship(own_torch.Net(lambda y, h: y), FRAMES)
    return folder, onnx.load(folder / "model.onnx")


@pytest.mark.parametrize("batch", [None, [1]])
def test_a_batch_that_works_at_1_alone_is_found(ship, tmp_path, batch):
    """A start state of one row is baked into the file, whose batch is declared as dynamic."""
    text = """
    g (float[batch, time, 2] x) => (float[one, batch, 3] h) {
        xs = Transpose<perm = [1, 0, 2]>(x)
        start = ConstantOfShape<value = float[1] {0.5}>(size)
        y, h = LSTM<hidden_size = 3>(xs, w, r, , , start)
    }
    """
    model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 18]>' + text)
    rng = np.random.default_rng(0)
    weights = {"w": (1, 12, 2), "r": (1, 12, 3)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in weights.items()}
    for name, value in {**arrays, "size": np.array([1, 1, 3])}.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, tmp_path / "one.onnx")
    if batch:
        ship(str(tmp_path / "one.onnx"), lengths=[1, 5], batch=batch)
        return
    with pytest.raises(UsageError, match=r"runs at batch=1 alone \(time=1, batch=3: .*--batch 1 "):
        ship(str(tmp_path / "one.onnx"), lengths=[1, 5])


def test_an_onnx_file_of_the_users_own(ship, shipped, tmp_path):
    own = tmp_path / "mine.onnx"
    shutil.copy(shipped[0] / "model.onnx", own)
    folder, _ = ship(str(own), "x: [batch, time, 4] in -2..2, normal")
    assert store.read(folder / "golden").framework == "onnx"
    assert "the float64 evaluation of the file's own graph" in (folder / "MODEL.md").read_text()
    with pytest.raises(UsageError, match="the file's outputs are output; expected other"):
        ship(str(own), outputs="other")


def planted(model, defect):
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        value = numpy_helper.to_array(tensor).copy()
        if value.ndim == 3 and value.shape[1:] == (15, 5):
            if defect == "a weight":
                value[0, 2, 2] += 1e-3
            elif defect == "gates":
                value = value[:, [*range(5, 10), *range(5), *range(10, 15)]]
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return changed


@pytest.mark.parametrize("defect", ["a weight", "gates"])
def test_a_defect_in_a_file_is_found_against_the_framework(ship, shipped, tmp_path, defect):
    mine, model = tmp_path / "mine.onnx", own_torch.Net(lambda y, h: y)
    onnx.save(shipped[1], mine)
    assert (shipped[0] / "model.onnx").exists()
    onnx.save(planted(shipped[1], defect), mine)
    folder, report = ship(model, FRAMES, onnx=mine, conforms=False)
    names = {path.name for path in folder.iterdir()}
    assert names == {"rejected.onnx", "golden", "report.json", "account.json"}
    stored = json.loads((folder / "report.json").read_text())
    assert stored["summary"]["fail"] == 1
    again = shlex.split(stored["results"][0]["replay"])[3:]
    assert main([*again, "--report-dir", str(tmp_path / "report"), "-q"]) == 1
    assert report.results[0].stage == "check"
    assert report.results[0].reason.startswith("weights: gru.weight_hh_l0 ")
    assert max(o.ratio for case in report.results[0].cases for o in case.outputs) > 10
    judged = harness.validate(str(folder / "rejected.onnx"), golden=folder / "golden")
    assert judged.summary["fail"] == 1
    assert max(o.ratio for case in judged.results[0].cases for o in case.outputs) > 10
    onnx.save(shipped[1], mine)
    folder, _ = ship(model, FRAMES, onnx=mine)
    assert not (folder / "rejected.onnx").exists()


def test_a_mask_that_a_file_ignores_is_found(ship, tmp_path):
    masked = own_keras.bilstm()
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    plain = keras.layers.Embedding(20, 4)(tokens)
    for layer in masked.layers[2:]:
        plain = layer(plain)
    blind = keras.Model(tokens, plain)
    blind.set_weights(masked.get_weights())
    folder, _ = ship(blind, "tokens: in 0..19", lengths=[1, 3, 9])
    shutil.move(folder / "model.onnx", tmp_path / "blind.onnx")
    shutil.rmtree(folder)
    _, report = ship(masked, lengths=[1, 3, 9], onnx=tmp_path / "blind.onnx", conforms=False)
    failed = {c.case.raggedness.value for c in report.results[0].cases if c.status == "fail"}
    assert "none" not in failed
    assert {"right", "left", "gapped"} <= failed


def valid_counts(edit):
    valid = edit.node("Cast", [edit.node("Cast", ["tokens"], to=9)], to=7)
    return edit.reduced("ReduceSum", valid, [1])


def first(edit, tensor, rows=1):
    return edit.part(tensor, 0, rows, 0)


PLACES = {
    "a row longer than the first": lambda e, n: e.node(
        "Greater", [e.reduced("ReduceMax", n), first(e, n)]
    ),
    "a batch beyond 16": lambda e, n: e.node(
        "Greater", [e.size("tokens", 0), e.constant(16, np.int64)]
    ),
    "two empty rows": lambda e, n: e.node(
        "Equal",
        [
            e.reduced("ReduceSum", e.node("Cast", [e.node("Equal", [n, e.constant(0)])], to=7)),
            e.constant(2),
        ],
    ),
    "the highest token": lambda e, n: e.node(
        "Equal", [e.reduced("ReduceMax", "tokens"), e.constant(399)]
    ),
    "an exact zero": lambda e, n: e.node(
        "Equal",
        [
            e.reduced("ReduceMin", e.node("Abs", ["x"])),
            e.constant(0, np.float32),
        ],
    ),
    "more than 257 steps": lambda e, n: e.node(
        "Greater", [e.size("tokens", 1), e.constant(257, np.int64)]
    ),
}


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked") / "bundle"
    lines = [TOKENS.replace("..19", "..399"), FRAMES]
    report = harness.export(own_torch.Masked().eval(), folder, inputs=lines)
    assert report.conforms
    return folder, report


@pytest.mark.parametrize("place", PLACES)
def test_what_is_wrong_in_one_place_alone_is_found(masked, tmp_path, place):
    folder, _ = masked
    edit = Edit(onnx.load(folder / "model.onnx"))
    wrong = edit.node("Cast", [PLACES[place](edit, valid_counts(edit))], to=1)
    little = edit.node(
        "Mul", [edit.node("ReduceMax", [wrong], keepdims=0), edit.constant(1e-3, "f4")]
    )
    (output,) = edit.graph.output
    edit.rewrite(output.name, lambda kept: edit.node("Add", [kept, little]))
    onnx.save(edit.done(), tmp_path / "wrong.onnx")
    report = harness.validate(str(tmp_path / "wrong.onnx"), golden=folder / "golden")
    failed = [case for case in report.results[0].cases if case.status == "fail"]
    assert 0 < len(failed) < len(report.results[0].cases)


def test_what_the_cases_cover_is_in_the_report_and_on_the_card(masked, tmp_path):
    folder, report = masked
    evidence = report.results[0].evidence
    assert evidence["coverage"]["values"] == {"tokens": [399, 399]}
    assert evidence["decisions"]["count"] >= 2
    assert store.read(folder / "golden").manifest["coverage"] == {"tokens": [399, 399]}
    card = (folder / "MODEL.md").read_text()
    assert "tokens: 399 of 399 values read" in card
    assert "decisions of the graph: " in card
    place = tmp_path / "report"
    assert main([str(folder), "--decisions", "--report-dir", str(place), "-q"]) == 0
    (result,) = json.loads((place / "report.json").read_text())["results"]
    again = result["evidence"]["decisions"]
    assert again == {**evidence["decisions"], "tries": 0}


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not a bundle"):
        harness.export(own_torch.net(), tmp_path, inputs=FRAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("folder", ["notes.txt/new", "/"])
def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path, monkeypatch, folder):
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(owning, "_make", lambda *arguments: pytest.fail("worked first"))
    with pytest.raises(UsageError, match=r"cannot be written|is not a bundle"):
        harness.export(own_torch.net(), tmp_path / folder, inputs=FRAMES)


class Absent:
    """A runtime whose library is not installed."""

    def check(self):
        return "not installed"

    def version(self):
        return ""

    def prepare(self, path):
        raise NotImplementedError


ABSENT = Absent()


def test_a_bundle_stays_as_it_was_where_a_runtime_is_missing(ship, monkeypatch):
    monkeypatch.setitem(RUNTIMES, "absent", f"{__name__}:ABSENT")
    model = torch.nn.LSTM(4, 3, batch_first=True)
    frames = "input: float32[batch, time, 4]"
    folder, _ = ship(model, frames)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for named in ("absent", "ort-cpu,absent"):
        with pytest.raises(UnavailableError, match="runtime absent is required"):
            harness.export(model, folder, inputs=frames, runtimes=named)
    report = harness.export(model, folder, inputs=frames, lengths=SIZES, runtimes="abs*")
    assert [result.status for result in report.results] == [Status.UNAVAILABLE]
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    ship(model, frames, runtimes="ort-c*")


def test_a_toml_file_beside_the_model_describes_it(ship, tmp_path):
    shutil.copy(NETS / "own_torch.py", tmp_path / "mine.py")
    (tmp_path / "mine.toml").write_text(
        'name = "reader"\noutputs = ["a", "b"]\nlengths = "2,5"\nbatch = 2\n'
        '[inputs]\nx = "float32[batch, frames, 4]"\n'
    )
    folder, report = ship(f"{tmp_path}/mine.py:tuples", lengths=None)
    assert axes(folder) == {
        "x": ["batch", "frames", 4],
        "a": ["batch", "frames", 5],
        "b": [1, "batch", 5],
    }
    assert report.results[0].cell.model == "reader"
    cases = store.read(folder / "golden").cases
    assert {(case.lengths["frames"], case.batch) for case in cases} == {(2, 2), (5, 2)}


BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "tensorflow", "keras", "tf2onnx", "onnxscript"}:
            raise ImportError(f"{name} must not be imported here")
sys.meta_path.insert(0, Blocker())
import runpy
sys.argv = ["harness.validate", *sys.argv[1:]]
runpy.run_module("harness.validate", run_name="__main__")
"""


def test_a_bundle_validates_where_no_framework_is(shipped):
    judged = subprocess.run(
        [sys.executable, "-c", BLOCKER, str(shipped[0]), "--json"],
        capture_output=True,
        text=True,
        cwd=shipped[0].parent,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout)["summary"]["pass"] == 1


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "harness.export", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


@pytest.mark.slow
def test_a_good_run_is_quiet_whatever_the_factory_prints(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subject = f"{NETS}/own_torch.py:noisy"
    done = command(
        *(subject, "-o", "out", "--input", FRAMES, "--lengths", "1,4"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "FACTORY" not in done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "FACTORY" not in done.stdout
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "model.onnx",
        "manifest.json",
        "golden",
        "MODEL.md",
        "account.json",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factory", "limit", "told"),
    [
        ("dies", None, "own_torch.py:dies: its process ended with signal SIGSEGV"),
        ("forks", 120.0, "own_torch.py:forks: its process ended with signal SIGSEGV"),
        ("slow", 2.0, "own_torch.py:slow: its process did not end within 2 s and was killed"),
        (
            "prints",
            None,
            "own_torch.py:prints: its process wrote over 16,777,216 bytes of output and was killed:"
            f" {'x' * 4096}",
        ),
    ],
)
def test_a_child_that_dies_or_takes_too_long(tmp_path, factory, limit, told):
    request = owning.Request(
        f"{NETS}/own_torch.py:{factory}", tmp_path / "out", FRAMES, timeout=limit
    )
    with pytest.raises(UsageError) as error:
        owning.ship(request, lambda result: None)
    assert str(error.value).endswith(told)
    assert not list(tmp_path.iterdir())


def test_a_model_of_ones_own_has_half_an_hour_unless_it_is_told(monkeypatch, tmp_path):
    limits = []

    def call(limit, *arguments, **options):
        limits.append(limit)
        raise LostError("ended", [])

    monkeypatch.setattr(in_child, "call_in_child", call)
    for timeout in (None, 5.0):
        request = owning.Request(
            f"{NETS}/own_torch.py:net", tmp_path / "out", FRAMES, timeout=timeout
        )
        with pytest.raises(UsageError):
            owning.ship(request, lambda result: None)
    assert [limit.time for limit in limits] == [1800.0, 5.0]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_no_child_is_left_of_an_export_that_was_killed(tmp_path):
    call = [sys.executable, "-m", "harness.export", f"{NETS}/own_torch.py:waits", "-o", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    export = subprocess.Popen([*call, "--input", FRAMES], cwd=tmp_path, env=environment)
    pid = tmp_path / "waits.pid"
    while not (pid.exists() and pid.read_text()):
        assert export.poll() is None
        time.sleep(0.05)
    export.kill()
    export.wait()
    assert ends(int(pid.read_text()))
