"""What the native PyTorch exporter refuses, and the layers that only look as if it should."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.core.errors import ExportError
from harness.core.schema import TensorSpec

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import rnn  # noqa: E402

from harness.exporters.torch.native import export  # noqa: E402
from tests.support.torch_grid import (  # noqa: E402
    F,
    H,
    Rows,
    X,
    batch_first,
    compare,
    draw,
    layer_outputs,
    snapshot,
    spec,
)


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


def linear_steps(self, x):
    y = self.rnn(x).sum(1)
    return y * 2 if x.shape[1] > 1 else y


def linear_rows(self, x):
    return self.rnn(x * 1.001 if x.shape[0] == 1 else x).sum(1)


def another_length(self, x):
    y = last(self, x)
    return y * 2 if x.shape[1] == 9 else y


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
    "a state kept in an attribute": (lambda: Over(gru(), stateful), "state changes in forward"),
    "a buffer changed in place": (lambda: Over(gru(), in_place), "carried changes in forward"),
    "a branch on a value": (lambda: Over(gru(), branching), "Over: "),
    "a branch on one row": (lambda: Over(gru(), single_row), "Over: a branch in forward"),
    "a branch on several steps": (lambda: Over(gru(), several_steps), "Over: a branch in forward"),
    "one step, no recurrence": (lambda: Over(nn.Linear(F, H), linear_steps), "a branch in"),
    "one row, no recurrence": (lambda: Over(nn.Linear(F, H), linear_rows), "a branch in"),
    "a branch on one length": (lambda: Over(gru(), another_length), "the size of axis 'sequence'"),
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


def test_torchscript_is_named_with_the_way_out():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(F, H)))
    model_spec = spec((X,), (TensorSpec("y", "float32", ("batch", "sequence", H)),))
    with pytest.raises(ExportError, match=r"is TorchScript.* or --exporter torch-script"):
        export(scripted, model_spec, draw(model_spec, 5, 7))
