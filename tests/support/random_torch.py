"""A described net in PyTorch."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

from harness.core.schema import Array, Arrays, ModelSpec, TensorSpec
from harness.exporters.torch.native import export
from tests.support.random_checks import COPIES, VOCABULARY, Realised, drawn_weight, embeddings
from tests.support.random_nets import After, Run, TorchLayer, TorchNet, streams

POISON = 1000.0


def realise(net: TorchNet) -> Realised:
    model = Net(net)
    rng = np.random.default_rng(net.seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(_weight(rng, name, tuple(parameter.shape))))
        if model.embedding is not None:
            model.embedding.weight.copy_(torch.from_numpy(embeddings(rng, net.features)))
    single, double = copy.deepcopy(model).eval(), copy.deepcopy(model).double().eval()
    spec = specification(net)
    rows, steps = net.example
    example = _draw(net, spec, rng, Run(rows, steps))
    return Realised(
        spec=spec,
        export=lambda: export(model, spec, example),
        draw=lambda rng, r: _draw(net, spec, rng, r),
        single=lambda inputs: _outputs(single, spec, inputs, torch.float32),
        double=lambda inputs: _outputs(double, spec, inputs, torch.float64),
        lengthen=_lengthened if net.packing else None,
    )


def _weight(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    if len(shape) == 1:
        return drawn_weight(rng, shape, 1, "gain" if name.endswith(".weight") else "bias")
    return drawn_weight(rng, shape, shape[1], "recurrent" if "_hh_" in name else "kernel")


def specification(net: TorchNet) -> ModelSpec:
    """Inputs x or ids, lengths where rows are packed, and states; outputs y and states."""
    ids = TensorSpec("ids", "int64", ("batch", "sequence"))
    floats = TensorSpec("x", "float32", ("batch", "sequence", net.features))
    inputs = [ids if net.source == "ids" else floats]
    if net.packing:
        inputs.append(TensorSpec("lengths", "int64", ("batch",)))
    outputs = []
    for number, layer in enumerate(net.layers):
        sizes = {"h": layer.size} | ({"c": layer.units} if layer.kind == "lstm" else {})
        states = [
            TensorSpec(f"{name}_{number}", "float32", (layer.states, "batch", size))
            for name, size in sizes.items()
        ]
        inputs += states * layer.state_in
        outputs += [TensorSpec(f"{t.name}_n", t.dtype, t.axes) for t in states * layer.state_out]
    last = net.layers[-1]
    longest = net.packing is not None and not net.packing.whole
    axes = ("batch", *(("longest" if longest else "sequence",) * (net.take == "steps")))
    width = last.size if net.take == "final" else width_after(last)
    return ModelSpec(
        "random", "", tuple(inputs),
        (TensorSpec("y", "float32", (*axes, width)), *outputs), "random",
        states={t.name.removesuffix("_n"): t.name for t in outputs} if streams(net) else {},
    )  # fmt: skip


def width_after(layer: TorchLayer) -> int:
    dense = [a.units for a in layer.after if a.kind in ("dense", "time_distributed")]
    return dense[-1] if dense else layer.size * (1 + (layer.direction == "bidirectional"))


def _draw(net: TorchNet, spec: ModelSpec, rng: np.random.Generator, r: Run) -> Arrays:
    """Values at padded steps are as any others; only the lengths tell."""
    arrays: Arrays = {}
    for tensor in spec.inputs:
        shape = tensor.shape(r.rows, {"sequence": r.steps})
        if tensor.name == "ids":
            arrays["ids"] = rng.integers(0, VOCABULARY, shape)
        elif tensor.name == "lengths":
            lengths = rng.integers(1, r.steps + 1, shape)
            if r.padding == "none":
                lengths[:] = r.steps
            arrays["lengths"] = np.sort(lengths)[::-1].copy() if _sorted(net) else lengths
        else:
            arrays[tensor.name] = rng.normal(0, 1, shape).astype(np.float32)
    return arrays


def _sorted(net: TorchNet) -> bool:
    return net.packing is not None and net.packing.enforce_sorted


def _lengthened(inputs: Arrays, more: int) -> tuple[Arrays, Array]:
    """More steps after every row, and extreme values at all that are not its own."""
    name = next(iter(inputs))
    x, lengths = inputs[name], inputs["lengths"]
    longer = np.pad(x, [(0, 0), (0, more), (0, 0)][: x.ndim])
    valid = np.arange(longer.shape[1]) < lengths[:, None]
    longer[~valid] = VOCABULARY - 1 if name == "ids" else POISON
    return {**inputs, name: longer}, valid


def _outputs(model: nn.Module, spec: ModelSpec, inputs: Arrays, dtype: torch.dtype) -> list[Array]:
    tensors = [torch.from_numpy(inputs[t.name]) for t in spec.inputs]
    with torch.no_grad():
        result = model(*(t.to(dtype) if t.is_floating_point() else t for t in tensors))
    return [result[t.name].numpy() for t in spec.outputs]


ACTIVATIONS = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=-1),
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "silu": nn.SiLU,
}


class Net(nn.Module):
    def __init__(self, net: TorchNet) -> None:
        super().__init__()
        self.net = net
        self.embedding = (
            nn.Embedding(COPIES * VOCABULARY, net.features) if net.source == "ids" else None
        )
        self.blocks = nn.ModuleList()
        width = net.features
        for layer in net.layers:
            self.blocks.append(Block(layer, width))
            width = width_after(layer)

    def forward(self, x: Tensor, *given: Tensor) -> dict[str, Tensor]:
        net, packing = self.net, self.net.packing
        remaining = iter(given)
        lengths = next(remaining) if packing else None
        y = x if self.embedding is None else self.embedding(x)
        outputs = {}
        for number, block in enumerate(self.blocks):
            layer = block.layer
            names = [f"{n}_{number}_n" for n in ("h", "c")[: 1 + (layer.kind == "lstm")]]
            state = [next(remaining) for _ in names] if layer.state_in else None
            first, last = number == 0, number == len(self.blocks) - 1
            if packing is None:
                taken, finals = block.steps(y, state)
            else:
                rows = (
                    rnn.pack_padded_sequence(
                        y if layer.batch_first else y.transpose(0, 1),
                        lengths, layer.batch_first, packing.enforce_sorted,
                    )
                    if first or not packing.chained else y
                )  # fmt: skip
                taken, finals = block.recurrent(rows, _state(state))
                if last or not packing.chained:
                    steps = x.shape[1] if packing.whole else None
                    taken, _ = rnn.pad_packed_sequence(
                        taken, layer.batch_first, packing.filler, steps
                    )
                    taken = taken if layer.batch_first else taken.transpose(0, 1)
            for after, module in zip(layer.after, block.after, strict=True):
                taken = taken + module(y) if after.kind == "residual" else module(taken)
            y = taken
            finals = finals if isinstance(finals, tuple) else (finals,)
            if layer.state_out:
                outputs |= dict(zip(names, finals, strict=True))
        taken = {"steps": lambda: y, "last": lambda: y[:, -1], "final": lambda: finals[0][-1]}
        return {"y": taken[net.take](), **outputs}


def _state(state: list[Tensor] | None) -> Tensor | tuple[Tensor, ...] | None:
    return None if state is None else tuple(state) if len(state) > 1 else state[0]


class Block(nn.Module):
    """A recurrent layer and what comes after it."""

    def __init__(self, layer: TorchLayer, width: int) -> None:
        super().__init__()
        self.layer = layer
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of dropout between the layers of one
            self.recurrent = _recurrent(layer, width)
        size = layer.size * (1 + (layer.direction == "bidirectional"))
        self.after = nn.ModuleList()
        for after in layer.after:
            self.after.append(_after(after, size, width))
            size = after.units if after.kind in ("dense", "time_distributed") else size

    def steps(self, y: Tensor, state: list[Tensor] | None) -> tuple[Tensor, object]:
        """The layer over unpacked rows [batch, steps, features]."""
        backward = self.layer.direction == "backward"
        y = y.flip(1) if backward else y
        y = y if self.layer.batch_first else y.transpose(0, 1)
        y, finals = self.recurrent(y, _state(state))
        y = y if self.layer.batch_first else y.transpose(0, 1)
        return y.flip(1) if backward else y, finals


def _recurrent(layer: TorchLayer, width: int) -> nn.RNNBase:
    kwargs = {
        "num_layers": layer.depth,
        "bias": layer.bias,
        "batch_first": layer.batch_first,
        "dropout": layer.dropout,
        "bidirectional": layer.direction == "bidirectional",
    }
    match layer.kind:
        case "lstm":
            return nn.LSTM(width, layer.units, proj_size=layer.projection, **kwargs)
        case "gru":
            return nn.GRU(width, layer.units, **kwargs)
    nonlinearity = layer.kind.removeprefix("rnn_")
    return nn.RNN(width, layer.units, nonlinearity=nonlinearity, **kwargs)


def _after(after: After, size: int, width: int) -> nn.Module:
    """Over ``size`` features; a residual one over the ``width`` of the recurrent layer's input."""
    match after.kind:
        case "dense" | "time_distributed":
            return nn.Sequential(nn.Linear(size, after.units), ACTIVATIONS[after.activation]())
        case "residual":
            return nn.Sequential(nn.Linear(width, size), ACTIVATIONS[after.activation]())
        case "norm":
            return nn.LayerNorm(size)
        case "dropout":
            return nn.Dropout(0.5)
    raise ValueError(after.kind)
