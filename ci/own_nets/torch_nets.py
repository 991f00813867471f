"""PyTorch nets as users train them: small, right, and of the kinds that are hard to judge."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from ci.own_nets.torch_modules import (
    Attention,
    Beams,
    ConvLstm,
    Crnn,
    Decoder,
    Encoder,
    Fft,
    Fnet,
    Frames,
    Norms,
    Pointer,
    States,
    Tcn,
    Two,
    Words,
)


def _made(make: Callable[[], nn.Module], change: Callable[..., None] | None = None) -> nn.Module:
    """Return a net with seeded weights and with statistics of batches as training leaves them."""
    torch.manual_seed(0)
    net = make().eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.3, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
        if change:
            change(net)
    return net


def _prior(bias: float, gain: float, net: Frames) -> None:
    """Start from rare classes, as a focal loss does."""
    net.head.bias.fill_(bias)
    net.head.weight.mul_(gain)


def _uneven(net: Frames) -> None:
    """Give the channels of the output scales from 1e-5 to 1e3."""
    scales = torch.tensor([1e3, 1.0, 1e-3, 1e-5])
    net.head.weight.mul_(scales[:, None])
    net.head.bias.mul_(scales)


def _chrono(longest: float, net: Frames) -> None:
    """Set the forget biases to the logarithm of a span, the input biases to its negative."""
    size = net.lstm.hidden_size
    spans = torch.log(torch.empty(size).uniform_(1, longest - 1))
    net.lstm.bias_ih_l0.zero_()
    net.lstm.bias_hh_l0.zero_()
    net.lstm.bias_ih_l0[size : 2 * size] = spans
    net.lstm.bias_ih_l0[:size] = -spans


def _spread(net: Pointer) -> None:
    net.head.weight.mul_(3)


def conv_lstm() -> nn.Module:
    return _made(ConvLstm)


def norms() -> nn.Module:
    return _made(Norms)


def crnn() -> nn.Module:
    return _made(Crnn)


def tcn() -> nn.Module:
    return _made(Tcn)


def attention() -> nn.Module:
    return _made(Attention)


def pointer() -> nn.Module:
    return _made(lambda: Pointer(lambda scores, mask: scores + (1 - mask) * -1e9), _spread)


def log_pointer() -> nn.Module:
    return _made(
        lambda: Pointer(lambda s, mask: torch.log_softmax(s + (1 - mask) * -1e9, -1)), _spread
    )


def lowest_fill() -> nn.Module:
    return _made(
        lambda: Pointer(lambda s, mask: s.masked_fill(mask == 0, torch.finfo(s.dtype).min)),
        _spread,
    )


def encoder() -> nn.Module:
    return _made(Encoder)


def states() -> nn.Module:
    return _made(States)


def two_inputs() -> nn.Module:
    return _made(Two)


def argmax() -> nn.Module:
    return _made(lambda: Frames(lambda y: y.argmax(-1), 9))


def levels() -> nn.Module:
    return _made(lambda: Frames(lambda y: y.argmax(-1).to(torch.uint8), 7))


def shades() -> nn.Module:
    return _made(lambda: Frames(lambda y: (torch.sigmoid(y) * 255).to(torch.uint8), 1))


def log_softmax() -> nn.Module:
    return _made(lambda: Frames(lambda y: torch.log_softmax(3 * y, -1), 9))


def words() -> nn.Module:
    return _made(Words)


def decoder() -> nn.Module:
    return _made(Decoder)


def beams() -> nn.Module:
    return _made(Beams)


def channels() -> nn.Module:
    return _made(lambda: Frames(lambda y: y), _uneven)


def focal() -> nn.Module:
    return _made(lambda: Frames(torch.sigmoid), partial(_prior, -7.0, 2.0))


def rare_events() -> nn.Module:
    return _made(lambda: Frames(torch.sigmoid, 2), partial(_prior, -14.0, 6.0))


def rare_classes() -> nn.Module:
    def change(net: Frames) -> None:
        net.head.weight.mul_(4)
        net.head.bias.copy_(torch.tensor([8.0, 0.0, -4.0, -9.0]))

    return _made(lambda: Frames(lambda y: torch.softmax(y, -1)), change)


def chrono() -> nn.Module:
    return _made(lambda: Frames(torch.sigmoid), partial(_chrono, 300.0))


def running_sum() -> nn.Module:
    return _made(lambda: Frames(lambda y: torch.cumsum(F.softplus(y), 1)))


def fft() -> nn.Module:
    return _made(Fft)


def fnet() -> nn.Module:
    return _made(Fnet)
