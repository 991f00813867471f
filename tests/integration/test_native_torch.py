"""The native PyTorch exporter against eager PyTorch: a grid of layers, and what it refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from harness.errors import ExportError
from harness.schema import Arrays, ModelSpec, TensorSpec

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import rnn  # noqa: E402

from harness.exporters.native_torch import export  # noqa: E402

F, H, P = 5, 3, 2
LENGTHS = (1, 2, 3, 7, 8, 17, 33, 300)
BATCHES = (1, 2, 5)
EXAMPLE = {"batch": 41, "sequence": 43}
BAKED = {40, 41, 42, 43, 41 * 43}
X = TensorSpec("x", "float32", ("batch", "sequence", F))
N = TensorSpec("lengths", "int64", ("batch",))


def spec(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> ModelSpec:
    return ModelSpec("grid", "", "", inputs, outputs, "grid")


def draw(model_spec: ModelSpec, batch: int, length: int, seed: int = 0) -> Arrays:
    rng = np.random.default_rng((seed, batch, length))
    arrays: Arrays = {}
    for tensor in model_spec.inputs:
        shape = tensor.shape(batch, {"sequence": length})
        if tensor.dtype == "int64":
            arrays[tensor.name] = rng.integers(1, length + 1, shape)
        else:
            arrays[tensor.name] = rng.uniform(-1, 1, shape).astype(np.float32)
    return arrays


class Rows(nn.Module):
    """One layer per row over the same inputs; every result is an output named by its row."""

    def __init__(self, rows: dict[str, nn.Module], call: Callable) -> None:
        super().__init__()
        self.rows = nn.ModuleDict(rows)
        self.call = call

    def forward(self, *inputs):
        outputs = {}
        for name, layer in self.rows.items():
            y, final = self.call(layer, *inputs)
            named = {"y": y}
            if isinstance(final, tuple):
                named |= dict(zip(("h", "c"), final, strict=True))
            else:
                named["h"] = final
            outputs |= {f"{name}.{key}": value for key, value in named.items()}
        return outputs


def layer_outputs(rows: Rows, y_axes: tuple[str, ...] = ("batch", "sequence")):
    outputs = []
    for name, layer in rows.rows.items():
        directions = 1 + layer.bidirectional
        size = layer.proj_size or H
        states = {"h": size} | ({"c": H} if layer.mode == "LSTM" else {})
        outputs.append(TensorSpec(f"{name}.y", "float32", (*y_axes, directions * size)))
        batch = ("batch",) if "batch" in y_axes else ()
        outputs += [
            TensorSpec(f"{name}.{key}", "float32", (layer.num_layers * directions, *batch, n))
            for key, n in states.items()
        ]
    return tuple(outputs)


KINDS = {
    "lstm": lambda **options: nn.LSTM(F, H, **options),
    "gru": lambda **options: nn.GRU(F, H, **options),
    "rnn_tanh": lambda **options: nn.RNN(F, H, **options),
    "rnn_relu": lambda **options: nn.RNN(F, H, nonlinearity="relu", **options),
}
SHAPES = {
    "one": {},
    "stacked": {"num_layers": 3, "dropout": 0.5},
    "bidirectional": {"bidirectional": True},
    "stacked_bidirectional": {"num_layers": 2, "bidirectional": True},
    "no_bias": {"bias": False, "bidirectional": True},
}
PROJECTED = {
    f"projected_{name}": {**options, "proj_size": P}
    for name, options in SHAPES.items()
    if name != "no_bias"
}


def shapes_of(kind: str, packed: bool = False) -> dict[str, dict]:
    """The rows of a kind; fewer where the exporter's code for them is that of another kind."""
    if kind == "gru" and not packed:
        return SHAPES
    names = {"stacked_bidirectional", "no_bias"}
    if kind == "lstm":
        every = SHAPES | PROJECTED
        names |= {"one", "projected_stacked_bidirectional"} if packed else set(every)
        return {name: every[name] for name in every if name in names}
    return {name: SHAPES[name] for name in SHAPES if name in names}


def batch_first(layer, x):
    return layer(x)


def time_major(layer, x):
    y, final = layer(x.transpose(0, 1))
    return y.transpose(0, 1), final


def packed(batch_first: bool, filler: float, whole: bool, enforce_sorted: bool = False) -> Callable:
    def call(layer, x, lengths, *state):
        steps = x.shape[1]
        x = x if batch_first else x.transpose(0, 1)
        rows = rnn.pack_padded_sequence(x, lengths, batch_first, enforce_sorted)
        y, final = layer(rows, _state(layer, state)) if state else layer(rows)
        y, _ = rnn.pad_packed_sequence(y, batch_first, filler, steps if whole else None)
        return y if batch_first else y.transpose(0, 1), final

    return call


def _state(layer, state):
    return state if layer.mode == "LSTM" else state[0]


def with_state(layer, x, *state):
    return layer(x, _state(layer, state))


def states(shape: dict) -> tuple[TensorSpec, ...]:
    layers = shape.get("num_layers", 1) * (1 + shape.get("bidirectional", False))
    return (
        TensorSpec("h0", "float32", (layers, "batch", shape.get("proj_size", H))),
        TensorSpec("c0", "float32", (layers, "batch", H)),
    )


def build(kind: str, shapes: dict[str, dict], call: Callable, **options) -> Rows:
    torch.manual_seed(7)
    rows = {name: KINDS[kind](**shape, **options) for name, shape in shapes.items()}
    return Rows(rows, call).train()


def eager(model, arguments: list, dtype) -> dict:
    cast = [torch.from_numpy(a) for a in arguments]
    with torch.no_grad():
        result = model(*(c.to(dtype) if c.is_floating_point() else c for c in cast))
    return {name: value.numpy() for name, value in result.items()}


def compare(model, model_spec: ModelSpec, lengths=LENGTHS, sort=False, reference=False):
    """ONNX Runtime (and onnx.reference) against eager float64, per row, over lengths and batches.

    The tolerance is eight times what eager float32 is off, or one ulp of the output's scale.
    """
    graph = export(model, model_spec, draw(model_spec, EXAMPLE["batch"], EXAMPLE["sequence"]))
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    double = copy.deepcopy(model).double().eval()
    float32 = copy.deepcopy(model).eval()
    runs = {"ort": lambda inputs: session.run(None, inputs)}
    if reference:
        evaluator = ReferenceEvaluator(graph)
        runs["reference"] = lambda inputs: evaluator.run(None, inputs)
    worst: dict[tuple[str, str], tuple[float, float]] = {}
    for length in lengths:
        for batch in BATCHES:
            inputs = draw(model_spec, batch, length)
            if sort:
                inputs["lengths"] = np.sort(inputs["lengths"])[::-1].copy()
            arguments = [inputs[t.name] for t in model_spec.inputs]
            exact = eager(double, arguments, torch.float64)
            single = eager(float32, arguments, torch.float32)
            for runtime, run in runs.items():
                if runtime == "reference" and length > 33:
                    continue
                got = dict(zip((t.name for t in model_spec.outputs), run(inputs), strict=True))
                for name, value in exact.items():
                    if runtime == "reference" and name.endswith(".c"):
                        continue  # a packed LSTM's cell state is what needs sequence_lens
                    assert got[name].shape == value.shape, (name, length, batch)
                    floor = max(
                        np.abs(single[name] - value).max(),
                        np.spacing(np.float32(np.abs(value).max())),
                    )
                    error = float(np.abs(got[name] - value).max())
                    ratio = error / float(8 * floor)
                    worst[runtime, name] = max(worst.get((runtime, name), (0, 0)), (ratio, error))
    for (runtime, name), (ratio, error) in worst.items():
        print(f"{runtime:10} {name:36} error {error:.2e}  {ratio:.2f} of tolerance")
    late = {name: ratio for name, (ratio, _) in worst.items() if not ratio <= 1}
    assert not late
    return graph.graph


@pytest.mark.parametrize(
    ("kind", "call"), [*((kind, batch_first) for kind in KINDS), ("lstm", time_major)]
)
def test_layers(kind: str, call: Callable) -> None:
    shapes = shapes_of(kind)
    if call is time_major:
        shapes = {"stacked_bidirectional": SHAPES["stacked_bidirectional"]}
    model = build(kind, shapes, call, batch_first=call is batch_first)
    compare(model, spec((X,), layer_outputs(model)))


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


@pytest.mark.parametrize("name", STATES_TAKEN_APART)
def test_states_stacked_and_taken_apart(name: str) -> None:
    model = StatesInAndOut(STATES_TAKEN_APART[name])
    given = (X, *(TensorSpec(n, "float32", ("batch", H)) for n in ("h1", "h2")))
    outputs = tuple(TensorSpec(n, "float32", ("batch", H)) for n in "abcde")
    graph = compare(model, spec(given, outputs), reference=True)
    if name == "as they are":
        assert not {"Concat", "Slice", "Gather"} & {node.op_type for node in graph.node}


def test_unbatched() -> None:
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


class Cells(nn.Module):
    def __init__(self, kind) -> None:
        super().__init__()
        self.cell = kind(F, H)

    def forward(self, x):
        state = None
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return state[0] if isinstance(state, tuple) else state


class Over(nn.Module):
    """A layer and what is done with it."""

    def __init__(self, layer: nn.Module, forward: Callable) -> None:
        super().__init__()
        self.rnn = layer
        self.state = None
        self.register_buffer("carried", torch.zeros(1, F))
        self.body = forward

    def forward(self, x):
        return self.body(self, x)


def last(self, x):
    return self.rnn(x)[0][:, -1]


def stateful(self, x):
    y, self.state = self.rnn(x, self.state)
    return y[:, -1]


def in_place(self, x):
    self.carried += x[:1, 0]
    return last(self, x + self.carried)


def branching(self, x):
    return last(self, x if x.sum() > 0 else -x)


def branching_in_graph(self, x):
    return torch.cond(x.sum() > 0, lambda v: v + 1, lambda v: v - 1, (last(self, x),))


def single_row(self, x):
    return last(self, x * 2 if x.shape[0] == 1 else x)


def several_steps(self, x):
    y = last(self, x)
    return y * 2 if x.shape[1] > 1 else y


def wrong_layers(self, x):
    return self.rnn(x, torch.zeros(2, x.shape[0], H))[0][:, -1]


def packed_data(self, x):
    lengths = torch.full((x.shape[0],), 1)
    rows = rnn.pack_padded_sequence(x, lengths, True)
    return rows.data.tanh()


def constant_lengths(self, x):
    rows = rnn.pack_padded_sequence(x, [1] * 11, True)
    return self.rnn(rows)[1][0]


def noisy(self, x):
    return last(self, nn.functional.dropout(x, 0.5))


def squeezed(self, x):
    return last(self, x).squeeze()


def returns_the_rows(self, x):
    return self.rnn(x)[0]


def bessel(self, x):
    return torch.special.bessel_j0(last(self, x))


def no_operator(self, x):
    return last(self, x[:, : int(x.shape[1])])


def weight_drop(self, x):
    return last(self, x)


def gru(**options) -> nn.GRU:
    return nn.GRU(F, H, batch_first=True, **options)


def dropped() -> nn.GRU:
    layer = gru()
    raw = layer.weight_hh_l0
    del layer.weight_hh_l0
    layer.raw = raw
    layer.weight_hh_l0 = raw.detach() * 2
    return layer


def hooked() -> nn.GRU:
    layer = gru()
    layer.register_forward_pre_hook(lambda module, inputs: None)
    return layer


def quantized() -> nn.Module:
    from torch.ao.nn.quantized.dynamic import GRU

    return GRU(F, H, batch_first=True)


UNSUPPORTED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "an LSTMCell in a loop": (lambda: Cells(nn.LSTMCell), "cell: called 13 times"),
    "a GRUCell in a loop": (lambda: Cells(nn.GRUCell), "cell: called 13 times"),
    "an RNNCell in a loop": (lambda: Cells(nn.RNNCell), "cell: called 13 times"),
    "a state kept in an attribute": (lambda: Over(gru(), stateful), "state changes in forward"),
    "a buffer changed in place": (lambda: Over(gru(), in_place), "carried changes in forward"),
    "a branch on a value": (lambda: Over(gru(), branching), "Over: "),
    "a branch on one row": (lambda: Over(gru(), single_row), "Over: a branch in forward"),
    "a branch on several steps": (lambda: Over(gru(), several_steps), "Over: a branch in forward"),
    "torch.cond": (lambda: Over(gru(), branching_in_graph), "control flow"),
    "a state of another depth": (lambda: Over(gru(), wrong_layers), "rnn: an initial state"),
    "the data of packed rows": (lambda: Over(gru(), packed_data), "PackedSequence"),
    "lengths that are constants": (lambda: Over(gru(), constant_lengths), "Over: "),
    "dropout that is never off": (lambda: Over(gru(), noisy), "draws random numbers"),
    "squeeze without an axis": (lambda: Over(gru(), squeezed), "squeeze()"),
    "float64": (lambda: Over(gru().double(), last), "rnn: weight_ih_l0 is torch.float64"),
    "float16": (lambda: Over(gru().half(), last), "rnn: weight_ih_l0 is torch.float16"),
    "weights that are no parameters": (lambda: Over(dropped(), weight_drop), "rnn: weight_hh_l0"),
    "a forward pre-hook": (lambda: Over(hooked(), last), "rnn: it has a forward pre-hook"),
    "a quantized layer": (lambda: Over(quantized(), last), ""),
    "another rank than declared": (lambda: Over(gru(), returns_the_rows), "output 'y'"),
    "an op that ONNX lacks": (lambda: Over(gru(), bessel), "bessel_j0"),
    "a length turned into a number": (lambda: Over(gru(), no_operator), "axis 'sequence'"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_constructs_end_in_one_line(name: str) -> None:
    model_class, reason = UNSUPPORTED[name]
    model = model_class().train()
    before = snapshot(model)
    model_spec = spec((X,), (TensorSpec("y", "float32", ("batch", H)),))
    with pytest.raises(ExportError) as caught:
        export(model, model_spec, draw(model_spec, 11, 13))
    print(f"{name}: {caught.value}")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(model) == before


def snapshot(model: nn.Module) -> list:
    """All that an export could leave behind in the model or in PyTorch."""
    tensors = [
        (k, v.data_ptr(), v._version)
        for k, v in (*model.named_parameters(), *model.named_buffers())
    ]
    modules = [(n, m.training, sorted(vars(m)), len(m._buffers)) for n, m in model.named_modules()]
    functions = (nn.LSTM.forward, nn.GRU.forward, nn.RNN.forward, nn.RNNBase.forward)
    functions += (torch.SymBool.__bool__,)
    packing = (rnn.pack_padded_sequence.__code__, rnn.pad_packed_sequence.__code__)
    return [tensors, modules, functions, packing, getattr(model, "state", None)]


def test_weight_normalised_layers_and_subclasses_are_exact() -> None:
    class Scaled(nn.GRU):
        def forward(self, x):
            y, h = super().forward(2 * x)
            return y / 2, h

    torch.manual_seed(3)
    normalised = gru(bidirectional=True)
    nn.utils.parametrizations.weight_norm(normalised, "weight_hh_l0")
    with torch.no_grad():
        normalised.parametrizations.weight_hh_l0.original0.mul_(1.7)
    model = Rows({"scaled": Scaled(F, H, batch_first=True), "normal": normalised}, batch_first)
    compare(model, spec((X,), layer_outputs(model)), lengths=(1, 8, 33))
