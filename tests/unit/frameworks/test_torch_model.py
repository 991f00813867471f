"""A PyTorch model in float64: what it holds is widened, and limits are float32's."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from harness.core.errors import UsageError  # noqa: E402
from harness.frameworks.torch_model import TorchModel  # noqa: E402

X = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4)).astype(np.float32)
WIDE = X.astype(np.float64)
THIRD = torch.full((4,), 1 / 3)
EXACT = THIRD.double().numpy()


@dataclasses.dataclass
class Held:
    value: torch.Tensor


class Net(torch.nn.Module):
    def __init__(self, held, function):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))
        self.held, self.function = held, function

    def forward(self, x):
        return self.function(x * self.weight, self.held)


def ran(model, wide=True):
    own = TorchModel(model)
    own.arrange(["x"])
    ((_, value),) = own.run({"x": X}, wide)
    return value


@pytest.mark.parametrize(
    ("held", "get"),
    [
        (THIRD, lambda held: held),
        ([THIRD], lambda held: held[0]),
        ({"a": (1, THIRD)}, lambda held: held["a"][1]),
        (Held(THIRD), lambda held: held.value),
        (None, lambda held: THIRD),
        (EXACT.astype(np.float32), torch.from_numpy),
    ],
    ids=["attribute", "list", "dict of tuples", "dataclass", "global", "numpy"],
)
def test_tensors_that_are_no_parameters_are_float64_in_the_copy(held, get):
    cosines = ran(Net(held, lambda x, held: x + get(held).cos()))
    np.testing.assert_allclose(cosines, WIDE + np.cos(EXACT), rtol=1e-14)
    product = ran(Net(held, lambda x, held: x @ get(held)))
    np.testing.assert_allclose(product, WIDE @ EXACT, rtol=1e-13)


def test_the_limits_that_a_model_reads_are_those_of_float32():
    limits = torch.finfo(torch.float32)

    def filled(x, held):
        own = torch.finfo(x.dtype)
        return x.masked_fill(x > 0, own.min) + own.eps

    value = ran(Net(None, filled))
    assert value.dtype == np.float64
    np.testing.assert_array_equal(value, np.where(WIDE > 0, limits.min, WIDE) + limits.eps)
    norm = torch.nn.RMSNorm(4, elementwise_affine=False)
    small = ran(Net(norm, lambda x, norm: norm(x * 1e-4)))
    expected = WIDE * 1e-4 / np.sqrt((WIDE**2 * 1e-8).mean(-1, keepdims=True) + limits.eps)
    np.testing.assert_allclose(small, expected, rtol=1e-12)
    assert torch.finfo(torch.float64).eps == np.finfo(np.float64).eps


def test_weights_are_moved_and_come_back_to_the_bit():
    own = TorchModel(Net(None, lambda x, _: x))
    own.arrange(["x"])
    initial = own.parameters()["weight"].copy()
    own.move(lambda values: {name: value * 3 for name, value in values.items()})
    np.testing.assert_array_equal(own.parameters()["weight"], initial)
    np.testing.assert_array_equal(own.run({"x": X}, False)[0][1], X * 3)
    own.move(lambda values: {name: value * 2 for name, value in values.items()})
    np.testing.assert_array_equal(own.run({"x": X}, False)[0][1], X * 2)
    own.move(lambda values: values)
    np.testing.assert_array_equal(own.run({"x": X}, False)[0][1], X)
    np.testing.assert_array_equal(own.run({"x": X}, True)[0][1], WIDE)


def test_weights_that_are_not_moved_are_there_once():
    own = TorchModel(Net(None, lambda x, _: x))
    weight = own.model.weight.detach().numpy()
    own.move(lambda values: {name: value + 1 for name, value in values.items()})
    assert not np.shares_memory(own.parameters()["weight"], weight)
    own.move(lambda values: values)
    assert np.shares_memory(own.parameters()["weight"], weight)


def normed(kind):
    """A layer whose weight a hook computes from others, which are no longer as they began."""
    torch.manual_seed(0)
    layer = torch.nn.LSTM(4, 3, batch_first=True) if kind == "LSTM" else torch.nn.Linear(4, 3)
    if kind == "spectral":
        return torch.nn.utils.spectral_norm(layer)
    layer = torch.nn.utils.weight_norm(layer, "weight_hh_l0" if kind == "LSTM" else "weight")
    with torch.no_grad():
        (layer.weight_hh_l0_g if kind == "LSTM" else layer.weight_g).mul_(1.5)
    return layer


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("kind", ["weight", "spectral", "LSTM"])
def test_weights_that_a_hook_computes_are_plain_ones_in_the_copy(kind, tmp_path):
    layer = normed(kind).eval()
    before, names = {k: v.clone() for k, v in layer.state_dict().items()}, {*layer.state_dict()}

    class Holder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            y = self.layer(x)
            return y[0] if kind == "LSTM" else y

    model = Holder().eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(X)).numpy()
    model(torch.from_numpy(X))  # now the computed weight has a history
    own = TorchModel(model)
    assert not any(part._forward_pre_hooks for part in own.model.modules())
    np.testing.assert_allclose(ran(model, wide=False), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ran(model), expected, rtol=1e-5, atol=1e-6)
    assert {*layer.state_dict()} == names
    assert layer._forward_pre_hooks
    for name, value in before.items():
        assert torch.equal(layer.state_dict()[name], value), name

    torch.save(model.state_dict(), tmp_path / "weights.pt")
    loaded = TorchModel(model, tmp_path / "weights.pt")
    loaded.arrange(["x"])
    np.testing.assert_allclose(loaded.run({"x": X}, False)[0][1], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*quant:UserWarning", "ignore::DeprecationWarning")
def test_a_quantised_layer_is_named_with_the_way_to_one():
    quantize = torch.ao.quantization.quantize_dynamic
    model = quantize(torch.nn.Sequential(torch.nn.Linear(4, 3)), dtype=torch.qint8)
    with pytest.raises(UsageError, match=r"0 is a quantised Linear, .* export the float model"):
        TorchModel(model)
