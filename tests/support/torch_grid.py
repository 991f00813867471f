"""A grid of recurrent PyTorch layers, and their native exports against eager PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn.utils import rnn

from harness.core.schema import Arrays, ModelSpec, TensorSpec
from harness.exporters.torch.native import export

F, H, P = 5, 3, 2
LENGTHS = (1, 2, 3, 7, 8, 17, 33, 300)
BATCHES = (1, 2, 5)
EXAMPLE = {"batch": 41, "sequence": 43}
BAKED = {40, 41, 42, 43, 41 * 43}
X = TensorSpec("x", "float32", ("batch", "sequence", F))
N = TensorSpec("lengths", "int64", ("batch",))


def spec(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> ModelSpec:
    return ModelSpec("grid", "", inputs, outputs, "grid")


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


SIZES = ((1, 1), (3, 2), (2, 5), (4, 40))


def same_at_every_length(model, inputs, output, example=(11, 13), at=SIZES):
    """Export a model, compare it with itself in float64, and return the export."""
    wanted = spec(inputs, (output,))
    made = export(model, wanted, draw(wanted, *example))
    session = onnxruntime.InferenceSession(made.SerializeToString())
    wide = copy.deepcopy(model).double()
    for batch, length in at:
        arrays = draw(wanted, batch, length)
        given = [torch.from_numpy(a) for a in arrays.values()]
        wider = [a.double() if a.is_floating_point() else a for a in given]
        expected = wide(*wider).detach().numpy()
        np.testing.assert_allclose(session.run(None, arrays)[0], expected, atol=1e-5)
    return made


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
