"""The native PyTorch exporter against eager PyTorch: a grid of layers."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import chain

import numpy as np
import onnx
import onnxruntime
import pytest

from harness.core.axis_rules import AxisRule
from harness.core.errors import ExportError
from harness.core.schema import ModelSpec, TensorSpec
from harness.graphs.example import example_inputs

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import rnn  # noqa: E402

from harness.exporters.torch.native import export  # noqa: E402
from tests.support.torch_grid import (  # noqa: E402
    BAKED,
    EXAMPLE,
    KINDS,
    SHAPES,
    F,
    H,
    N,
    P,
    Rows,
    X,
    batch_first,
    build,
    compare,
    draw,
    layer_outputs,
    packed,
    same_at_every_length,
    shapes_of,
    snapshot,
    spec,
    states,
    time_major,
    with_state,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "call"), [*((kind, batch_first) for kind in KINDS), ("lstm", time_major)]
)
def test_layers(kind: str, call: Callable) -> None:
    shapes = shapes_of(kind)
    if call is time_major:
        shapes = {"stacked_bidirectional": SHAPES["stacked_bidirectional"]}
    model = build(kind, shapes, call, batch_first=call is batch_first)
    compare(model, spec((X,), layer_outputs(model)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, "stacked_bidirectional") for kind in ("lstm", "gru", "rnn_tanh")),
     ("lstm", "projected_stacked_bidirectional")],
)  # fmt: skip
def test_initial_states(kind: str, name: str) -> None:
    shape = shapes_of(kind)[name]
    model = build(kind, {name: shape}, with_state, batch_first=True)
    given = states(shape) if kind == "lstm" else states(shape)[:1]
    compare(model, spec((X, *given), layer_outputs(model)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_packed(kind: str) -> None:
    model = build(kind, shapes_of(kind, packed=True), packed(True, 0.0, True), batch_first=True)
    reference = kind != "rnn_relu"  # onnx.reference knows no Relu in an RNN
    compare(model, spec((X, N), layer_outputs(model)), reference=reference)


@pytest.mark.parametrize("name", ["stacked_bidirectional", "projected_bidirectional"])
def test_packed_with_initial_states(name: str) -> None:
    shape = shapes_of("lstm")[name]
    model = build("lstm", {name: shape}, packed(True, 0.0, True), batch_first=True)
    compare(model, spec((X, N, *states(shape)), layer_outputs(model)), reference=True)


def test_packed_sorted_time_major_and_filled() -> None:
    shapes = {"bidirectional": SHAPES["bidirectional"]}
    model = build("gru", shapes, packed(False, -7.5, True, enforce_sorted=True))
    compare(model, spec((X, N), layer_outputs(model)), sort=True, reference=True)


def test_packed_padded_to_the_longest_row() -> None:
    model = build("gru", {"one": {}}, packed(True, 2.0, False), batch_first=True)
    outputs = layer_outputs(model, ("batch", "longest"))
    compare(model, spec((X, N), outputs), reference=True)


def test_packed_padded_to_another_length() -> None:
    def call(layer, x, lengths):
        y, final = layer(rnn.pack_padded_sequence(x, lengths, True, False))
        y, got = rnn.pad_packed_sequence(y, True, total_length=x.shape[1] + 3)
        return y[:, 3:] + 0 * got[:, None, None], final

    model = build("gru", {"one": {}}, call, batch_first=True)
    compare(model, spec((X, N), layer_outputs(model)))


def test_two_packed_layers_share_their_rows() -> None:
    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.LSTM(F, H, bidirectional=True, batch_first=True)
            self.second = nn.GRU(2 * H, 2 * H, batch_first=True)

        def forward(self, x, lengths):
            y, _ = self.first(rnn.pack_padded_sequence(x, lengths, True, False))
            y, _ = self.second(y)
            y, h = self.second(y)
            return {"h": h[0], "y": rnn.pad_packed_sequence(y, True, 1.0, x.shape[1])[0]}

    outputs = (
        TensorSpec("y", "float32", ("batch", "sequence", 2 * H)),
        TensorSpec("h", "float32", ("batch", 2 * H)),
    )
    model_spec = spec((X, N), outputs)
    graph = compare(Chain(), model_spec, reference=True)
    assert [n.name for n in graph.node if n.op_type == "GRU"] == [
        "second.l0_forward",
        "second.l0_forward_2",
    ]
    assert sum(v.name.startswith("second.") for v in graph.initializer) == 3
    assert not any(n.input[4:] and n.input[4] for n in graph.node if n.op_type == "LSTM")


class StatesInAndOut(nn.Module):
    """Stacks the states of two layers and takes them apart, with ``between`` in between."""

    def __init__(self, between: Callable) -> None:
        super().__init__()
        self.lstm = nn.LSTM(F, H, num_layers=2, batch_first=True)
        self.between = between

    def forward(self, x, h1, h2):
        h = torch.stack((h1, h2))
        _, (h, c) = self.lstm(x, (h, torch.stack((h2, h1))))
        h, c = self.between(h, c)
        return dict(zip("abcde", (h[0], h[-1], c[1], c[:1][0], h[1:][0]), strict=True))


def changed_under_a_view(h, c):
    first = h[:1]
    h.zero_()
    return torch.cat((first, c[:1])), c


STATES_TAKEN_APART = {
    "as they are": lambda h, c: (h, c),
    "joined": lambda h, c: (torch.cat((c[1:], h[:1])), torch.stack((c[1], h[0]))),
    "changed in place": changed_under_a_view,
    "of another dtype": lambda h, c: (torch.cat((h, c.double()))[1:].to(h.dtype), c),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STATES_TAKEN_APART)
def test_states_stacked_and_taken_apart(name: str) -> None:
    model = StatesInAndOut(STATES_TAKEN_APART[name])
    given = (X, *(TensorSpec(n, "float32", ("batch", H)) for n in ("h1", "h2")))
    outputs = tuple(TensorSpec(n, "float32", ("batch", H)) for n in "abcde")
    graph = compare(model, spec(given, outputs), reference=True)
    if name == "as they are":
        assert not {"Concat", "Slice", "Gather"} & {node.op_type for node in graph.node}


def test_unbatched() -> None:
    torch.manual_seed(5)
    layers = {
        "lstm": KINDS["lstm"](num_layers=2, bidirectional=True),
        "gru": KINDS["gru"](batch_first=True),
        "rnn": KINDS["rnn_relu"](),
    }
    model = Rows(layers, batch_first)
    x = TensorSpec("x", "float32", ("sequence", F))
    compare(model, spec((x,), layer_outputs(model, ("sequence",))))


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(F, H, batch_first=True)

    def forward(self, x, h0=None, scale=None):
        y, (h, c) = self.rnn(x, None if h0 is None else (h0, torch.zeros_like(h0)))
        return {"y": y if scale is None else y * scale, "state": (None, h, c)}


def test_optional_arguments_and_outputs() -> None:
    h0 = states({})[0]
    scale = TensorSpec("scale", "float32", ("batch", 1, 1))
    outputs = tuple(
        TensorSpec(name, "float32", axes)
        for name, axes in (
            ("y", ("batch", "sequence", H)), ("h", (1, "batch", H)), ("c", (1, "batch", H)),
        )
    )  # fmt: skip
    model = Optional().eval()
    for given in ((X, h0), (X, scale)):
        whole = spec((X, h0, scale), outputs)
        example = draw(spec(given, outputs), 11, 13)
        graph = export(model, whole, example)
        assert [v.name for v in graph.graph.input] == [t.name for t in given]
        inputs = draw(spec(given, outputs), 2, 9)
        session = onnxruntime.InferenceSession(graph.SerializeToString())
        with torch.no_grad():
            result = model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        expected = (result["y"], *result["state"][1:])
        for got, want in zip(session.run(None, inputs), expected, strict=True):
            np.testing.assert_allclose(got, want.numpy(), atol=1e-6)


class Everything(nn.Module):
    """Packed and plain, bidirectional and projected, one layer shared and one not used."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(F, H, 2, bidirectional=True, batch_first=True, dropout=0.5)
        self.shared = nn.GRU(2 * H, 2 * H, batch_first=True)
        self.projected = nn.LSTM(2 * H, 4, proj_size=P, batch_first=True)
        self.unused = nn.RNN(F, H)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, lengths, h0, c0):
        rows = rnn.pack_padded_sequence(x, lengths, True, False)
        y, (_, c) = self.lstm(rows, (h0, c0))
        y, _ = rnn.pad_packed_sequence(y, True, total_length=x.shape[1])
        y, _ = self.shared(self.dropout(y))
        y, _ = self.shared(y)
        return self.projected(y)[0], c


EVERYTHING = spec(
    (X, N, *states({"num_layers": 2, "bidirectional": True})),
    (
        TensorSpec("y", "float32", ("batch", "sequence", P)),
        TensorSpec("c", "float32", (4, "batch", H)),
    ),
)


def whole_numbers(graph: onnx.GraphProto) -> list[int]:
    """Every whole number that stands in a constant or an attribute of the graph."""
    attributes = list(chain.from_iterable(node.attribute for node in graph.node))
    constants = [*graph.initializer, *(a.t for a in attributes if a.HasField("t"))]
    arrays = [onnx.numpy_helper.to_array(c) for c in constants]
    sizes = [int(n) for a in arrays for n in (a.ravel() if a.dtype.kind in "iu" else a.shape)]
    return sizes + [int(n) for a in attributes for n in (a.i, *a.ints)]


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 20, 22, 26])
def test_structure_at_every_opset_and_the_model_left_as_it_was(opset: int) -> None:
    model = Everything().train()
    model.shared.eval()
    before = snapshot(model)
    example = draw(EVERYTHING, EXAMPLE["batch"], EXAMPLE["sequence"])
    graph = export(model, EVERYTHING, example, opset)
    assert snapshot(model) == before
    ops = {node.op_type for node in graph.graph.node}
    assert not ops & {"Loop", "Scan", "If", "Dropout"}
    assert {"LSTM", "GRU"} <= ops
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", opset)]
    assert not BAKED & set(whole_numbers(graph.graph))
    for value, tensor in zip(
        (*graph.graph.input, *graph.graph.output),
        EVERYTHING.inputs + EVERYTHING.outputs,
        strict=True,
    ):
        dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        assert (value.name, dims) == (tensor.name, list(tensor.axes))
    props = {p.key: p.value for p in graph.metadata_props}
    assert props["model_class"].endswith("Everything")
    assert props["torch"] == torch.__version__
    onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True, data_prop=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    inputs = draw(EVERYTHING, 3, 9)
    with torch.no_grad():
        expected = model.eval()(*map(torch.from_numpy, inputs.values()))
    for got, want in zip(session.run(None, inputs), expected, strict=True):
        np.testing.assert_allclose(got, want.numpy(), atol=1e-6)


def test_attention_without_dropout_draws_nothing():
    class Attends(nn.Module):
        def __init__(self, dropout: float) -> None:
            super().__init__()
            self.gru = nn.GRU(F, H, batch_first=True)
            self.dropout = dropout

        def forward(self, x):
            y = self.gru(x)[0][:, None]
            attend = nn.functional.scaled_dot_product_attention
            return {"y": attend(y, y, y, dropout_p=self.dropout)[:, 0]}

    y = TensorSpec("y", "float32", ("batch", "sequence", H))
    compare(Attends(0.0), spec((X,), (y,)), lengths=(1, 2, 7))
    with pytest.raises(ExportError, match="draws random numbers in evaluation mode"):
        export(Attends(0.5), spec((X,), (y,)), draw(spec((X,), (y,)), 41, 43))


class LongFilter(nn.Module):
    """A filter as long as the input, over as many channels as the example's spectrum has steps."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(F, 8)

    def forward(self, x):
        steps = x.shape[1]
        taps = torch.exp(-torch.arange(steps, dtype=x.dtype))[:, None] * self.wide.bias
        spectrum = torch.fft.rfft(self.wide(x), 2 * steps, 1) * torch.fft.rfft(taps, 2 * steps, 0)
        return torch.fft.irfft(spectrum, 2 * steps, 1)[:, :steps]


class Shifted(nn.Module):
    """Scores of distances, moved to places by padding and reshaping."""

    def forward(self, x):
        batch, steps, _ = x.shape
        far = torch.arange(steps - 1, -steps, -1, dtype=x.dtype)
        rows = nn.functional.pad(x.mean(2, keepdim=True) * far, (1, 0))
        return rows.view(batch, -1, steps)[:, 1:].reshape(batch, steps, -1)[..., :steps]


@pytest.mark.parametrize(("kind", "axis"), [(LongFilter, 8), (Shifted, "sequence")])
def test_what_pytorch_cannot_tell_of_a_size_is_no_restriction(kind, axis) -> None:
    torch.manual_seed(0)
    y = TensorSpec("y", "float32", ("batch", "sequence", axis))
    for example in (5, 7), (11, 13):
        same_at_every_length(kind(), (X,), y, example, at=((1, 1), (3, 2), (2, 7), (4, 40)))


class Causal(nn.Module):
    """Attention that adds a mask only where there is more than one step, as packages have it."""

    def forward(self, x):
        scores = x @ x.transpose(1, 2)
        if x.shape[1] > 1:
            scores = scores + torch.full((x.shape[1],) * 2, -torch.inf).triu(1).to(x.dtype)
        return {"y": torch.softmax(scores, -1) @ x}


def test_a_branch_that_comes_to_the_same_at_one_step_is_none() -> None:
    y = TensorSpec("y", "float32", ("batch", "sequence", F))
    compare(Causal(), spec((X,), (y,)), lengths=(1, 2, 7))


class Bag(nn.Module):
    """Gives an output's axis the size of the batch in other words."""

    def forward(self, x):
        rows = x.reshape(-1, F)[:: x.shape[1]]
        return {"y": rows.tanh()}


def test_a_size_in_other_words_is_the_same_size() -> None:
    y = TensorSpec("y", "float32", ("batch", F))
    compare(Bag(), spec((X,), (y,)), lengths=(1, 2, 7))


class Cached(nn.Module):
    """Adds steps to two caches, each of which PyTorch gives a length of its own."""

    def forward(self, x, mask, keys, values):
        keys, values = torch.cat([keys, x], 1), torch.cat([values, x], 1)
        return keys * mask[:, : keys.shape[1], None], values


def test_a_size_is_a_sum_of_others_whichever_input_they_are_of() -> None:
    cache = ("batch", "past", F)
    inputs = (
        TensorSpec("x", "float32", ("batch", "time", F)),
        TensorSpec("mask", "float32", ("batch", "total")),
        *(TensorSpec(name, "float32", cache) for name in ("keys", "values")),
    )
    outputs = tuple(TensorSpec(name, "float32", ("batch", "total", F)) for name in ("k", "v"))
    rules = {"total": AxisRule(terms={"past": 1, "time": 1})}
    cached = ModelSpec("cached", "", inputs, outputs, "cached", rules=rules)
    session = onnxruntime.InferenceSession(
        export(Cached(), cached, example_inputs(cached)).SerializeToString()
    )
    arrays = example_inputs(cached, range(20))
    expected = Cached()(*map(torch.from_numpy, arrays.values()))
    for got, want in zip(session.run(None, arrays), expected, strict=True):
        np.testing.assert_array_equal(got, want.numpy())


def test_an_export_leaves_no_copy_of_the_weights_and_the_model_its_own() -> None:
    model = nn.LSTM(64, 64, 2, bidirectional=True).eval()
    before, own = snapshot(model), {weight.data_ptr() for weight in model.parameters()}
    features = 2 * 64
    x, y = (TensorSpec(n, "float32", ("time", "batch", f)) for n, f in (("x", 64), ("y", features)))
    state = (TensorSpec(name, "float32", (4, "batch", 64)) for name in ("h", "c"))
    exported = export(model, spec((x,), (y, *state)), {"x": np.zeros((7, 3, 64), np.float32)})
    assert exported.graph.initializer
    assert snapshot(model) == before
    gc.collect()
    tensors = [o for o in gc.get_objects() if type(o) in (torch.Tensor, nn.Parameter)]
    held = {t.data_ptr(): t.untyped_storage().nbytes() for t in tensors if t.numel() >= 64 * 64}
    assert not [size for place, size in held.items() if size and place not in own]
