"""PyTorch nets of convolutions: strides, windows, spectra, and what joins frames again."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

X = ("x: float32[batch, 4, time]",)
AUDIO = ("samples: float32[batch, time]",)


class Unet(nn.Module):
    """A one-dimensional U-Net over lengths that are multiples of 4"""

    inputs = (*X, "time: multiple of 4")

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv1d(4, 8, 3, 2, 1), nn.Conv1d(8, 8, 3, 2, 1)])
        self.up = nn.ModuleList(
            [nn.ConvTranspose1d(8, 8, 4, 2, 1), nn.ConvTranspose1d(16, 4, 4, 2, 1)]
        )

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down[0](x))
        b = F.relu(self.down[1](a))
        return torch.cat([self.up[1](torch.cat([F.relu(self.up[0](b)), a], 1)), x], 1)


class Wavenet(nn.Module):
    """Gated, dilated, causal convolutions with skips"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.ModuleList(nn.Conv1d(4, 8, 2, dilation=2**n) for n in range(4))
        self.mixes = nn.ModuleList(nn.Conv1d(4, 4, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        skip = 0.0
        for n, (gate, mix) in enumerate(zip(self.gates, self.mixes, strict=True)):
            a, b = gate(F.pad(x, (2**n, 0))).chunk(2, 1)
            y = mix(torch.tanh(a) * torch.sigmoid(b))
            x, skip = x + y, skip + y
        return F.relu(skip)


class Separable(nn.Module):
    """Depthwise separable convolutions with batch norm, and scores of each step"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv1d(4, 4, 5, padding=2, groups=4), nn.Conv1d(4, 12, 1), nn.BatchNorm1d(12)),
            *(nn.ReLU(), nn.Conv1d(12, 12, 7, padding=3, groups=12), nn.Conv1d(12, 6, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).transpose(1, 2).log_softmax(-1)


class SpeechReader(nn.Module):
    """Strided convolutions, a bidirectional LSTM, CTC scores and the lengths that are left"""

    inputs = ("x: float32[batch, time, 8]", "lengths: int64[batch], lengths of time")

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *(nn.Conv1d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv1d(8, 8, 3, 2, 1), nn.ReLU())
        )
        self.lstm, self.head = nn.LSTM(8, 6, batch_first=True, bidirectional=True), nn.Linear(12, 7)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        y = self.lstm(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]
        return self.head(y).log_softmax(-1), (lengths + 3) // 4


class Vocoder(nn.Module):
    """Transposed convolutions: sixteen samples for each frame"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ModuleList(
            [nn.ConvTranspose1d(4, 6, 8, 4, 2), nn.ConvTranspose1d(6, 2, 8, 4, 2)]
        )
        self.last = nn.Conv1d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.up:
            x = F.leaky_relu(layer(x), 0.1)
        return torch.tanh(self.last(x))[:, 0]


class SqueezeExcite(nn.Module):
    """Channels weighted by their mean over time"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.excite = (
            nn.Conv1d(4, 8, 3, padding=1),
            nn.Linear(8, 2),
            nn.Linear(2, 8),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y * torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean(-1)))))[..., None]


class HookedNorm(nn.Module):
    """Weight norm by a hook, as published vocoders have it"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.weight_norm(nn.Conv1d(4, 8, 3, padding=1))
        self.last = nn.utils.weight_norm(nn.Conv1d(8, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)))


class OverlapAdd(nn.Module):
    """Frames of eight samples laid over each other by four"""

    inputs = ("masks: float32[batch, 5, time]",)

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Linear(5, 8, bias=False)

    def forward(self, masks: Tensor) -> Tensor:
        frames = self.basis(masks.transpose(1, 2)).transpose(1, 2)
        size = (1, 4 * (masks.shape[2] - 1) + 8)
        return F.fold(frames, size, (1, 8), stride=(1, 4))[:, 0, 0]


class Windows(nn.Module):
    """Windows of five steps by unfold"""

    inputs = ("x: float32[batch, time, 4]",)

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        windows = F.pad(x, (0, 0, 2, 2)).unfold(1, 5, 1)
        return self.head(windows.flatten(2))


class Spectrum(nn.Module):
    """The magnitudes of a short-time Fourier transform, and a GRU"""

    inputs = (*AUDIO, "time: 32..1024")

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(9, 6, batch_first=True)
        self.register_buffer("window", torch.hann_window(16), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        parts = torch.stft(samples, 16, 8, window=self.window, return_complex=True, center=False)
        return self.gru(torch.log(parts.abs() + 1e-3).transpose(1, 2))[0]


class TextReader(nn.Module):
    """Convolutions of three widths over words, the largest value of each"""

    inputs = ("tokens: int64[batch, time] in 0..29, padding 0", "time: 5..300")

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 8, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv1d(8, 4, width) for width in (3, 4, 5))
        self.head = nn.Linear(12, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens).transpose(1, 2)
        return self.head(torch.cat([F.relu(conv(x)).amax(-1) for conv in self.convs], 1))


class Shuffle(nn.Module):
    """Three steps out of each, by reshaping channels"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y.view(y.shape[0], 2, 3, -1).transpose(2, 3).reshape(y.shape[0], 2, -1)


class DualPath(nn.Module):
    """A GRU over the bands of each frame, one over the frames of each band"""

    inputs = ("x: float32[batch, time, 5, 4]",)

    def __init__(self) -> None:
        super().__init__()
        self.bands = nn.GRU(4, 2, batch_first=True, bidirectional=True)
        self.frames = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps = x.shape[:2]
        x = x + self.bands(x.reshape(batch * steps, 5, 4))[0].view(batch, steps, 5, 4)
        y = self.frames(x.transpose(1, 2).reshape(batch * 5, steps, 4))[0]
        return x + y.view(batch, 5, steps, 4).transpose(1, 2)


class Gated(nn.Module):
    """Gated linear convolutions with residuals"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(4, 8, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = (x + F.glu(conv(x), 1)) * 0.5**0.5
        return x
