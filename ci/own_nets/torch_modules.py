"""Modules of PyTorch as users write them, of the kinds that are hard to judge."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

WORDS = 50_000


class Frames(nn.Module):
    """A recurrent layer over frames of 6 features, and what ``after`` makes of its steps."""

    def __init__(self, after: Callable[[Tensor], Tensor], outputs: int = 4) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 12, batch_first=True), nn.Linear(12, outputs)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.head(self.lstm(x)[0]))


class ConvLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(
            *(nn.Conv1d(6, 10, 5, padding=2), nn.BatchNorm1d(10), nn.ReLU()),
            nn.Conv1d(10, 8, 3, padding=1),
        )
        self.lstm, self.head = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.front(x.transpose(1, 2)).transpose(1, 2))[0])


class Norms(nn.Module):
    """Group, batch and layer normalisation in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.group, self.batch = (
            *(nn.Conv1d(6, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.BatchNorm1d(8)),
        )
        self.gru, self.layer = nn.GRU(8, 12, batch_first=True), nn.LayerNorm(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.batch(self.group(self.conv(x.transpose(1, 2))))).transpose(1, 2)
        return self.head(self.layer(self.gru(y)[0]))


class Crnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.gru = nn.GRU(16, 10, batch_first=True, bidirectional=True)
        self.head = nn.Linear(20, 7)

    def forward(self, image: Tensor) -> Tensor:
        y = F.max_pool2d(torch.relu(self.norm(self.conv(image.unsqueeze(1)))), (1, 2))
        y = y.permute(0, 2, 1, 3).flatten(2)
        return torch.log_softmax(self.head(self.gru(y)[0]), -1)


class Tcn(nn.Module):
    """Dilated causal convolutions with weight normalisation."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv1d(6 if d == 1 else 8, 8, 3, dilation=d) for d in (1, 2, 4)]
        self.convs = nn.ModuleList([weight_norm(conv) for conv in convs])
        self.head = nn.Conv1d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2)
        for conv in self.convs:
            new = torch.relu(conv(F.pad(y, (2 * conv.dilation[0], 0))))
            y = new if y.shape[1] != new.shape[1] else y + new
        return self.head(y).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention whose weights are 0 where the mask is, and a mean over what is valid."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(6, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        queries, keys, values = self.project(x).chunk(3, -1)
        scores = queries @ keys.transpose(1, 2) / math.sqrt(8)
        weights = torch.softmax(scores + (1 - mask).unsqueeze(1) * -1e9, -1)
        return self.head(weights @ values * mask.unsqueeze(-1))


class Pointer(nn.Module):
    """Scores over the steps, those of padded ones replaced by ``fill``."""

    def __init__(self, fill: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.gru, self.head, self.fill = nn.GRU(6, 10, batch_first=True), nn.Linear(10, 1), fill

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.fill(self.head(self.gru(x)[0]).squeeze(-1), mask)


class Encoder(nn.Module):
    """The standard Transformer encoder with a padding mask, at the steps that are valid."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)
        self.embed = nn.Embedding(40, 16, padding_idx=0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        padded = tokens == 0
        y = self.encoder(self.embed(tokens), src_key_padding_mask=padded)
        return self.head(y).masked_fill(padded.unsqueeze(-1), 0.0)


class States(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> dict[str, Tensor]:
        y, (next_h, next_c) = self.lstm(x, (h, c))
        return {"scores": self.head(y), "next_h": next_h, "next_c": next_c}


class Two(nn.Module):
    """A target that attends to a source of another length."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.write = nn.GRU(6, 8, batch_first=True), nn.GRU(3, 8, batch_first=True)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(16, 4)

    def forward(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        keys, queries = self.read(source)[0], self.write(target)[0]
        weights = torch.softmax(queries @ keys.transpose(1, 2), -1)
        both = torch.cat([self.norm(weights @ keys), queries], -1)
        return {"scores": self.head(both), "weights": weights}


class Words(nn.Module):
    """An embedding of 50,000 rows, and the mean of what is no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 8, padding_idx=0)
        self.gru, self.head = nn.GRU(8, 10, batch_first=True), nn.Linear(10, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        valid = (tokens != 0).unsqueeze(-1).to(self.embed.weight.dtype)
        y = self.gru(self.embed(tokens))[0] * valid
        return self.head(y.sum(1) / valid.sum(1).clamp(min=1))


class Decoder(nn.Module):
    """Five steps that feed back what they gave, each looking at the whole source."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.cell = nn.GRU(6, 10, batch_first=True), nn.GRUCell(15, 10)
        self.head = nn.Linear(10, 5)

    def forward(self, source: Tensor) -> Tensor:
        keys, last = self.read(source)
        h, steps = last[0], []
        given = torch.softmax(self.head(h), -1)
        for _ in range(5):
            weights = torch.softmax((keys @ h.unsqueeze(-1)).squeeze(-1), -1)
            context = (weights.unsqueeze(-1) * keys).sum(1)
            h = self.cell(torch.cat([given, context], -1), h)
            given = torch.softmax(self.head(h), -1)
            steps.append(given)
        return torch.stack(steps, 1)


class Beams(nn.Module):
    """Seven greedy steps, of whose scores three beams are picked."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(20, 8), nn.GRU(8, 10, batch_first=True)
        self.cell, self.head = nn.GRUCell(8, 10), nn.Linear(10, 20)

    def forward(self, source: Tensor) -> Tensor:
        h, token, scores = self.read(self.embed(source))[1][0], source[:, 0], []
        for _ in range(7):
            h = self.cell(self.embed(token), h)
            best = torch.log_softmax(self.head(h), -1).max(-1)
            token = best.indices
            scores.append(best.values)
        steps = torch.stack(scores, 1)[:, None].repeat(1, 3, 1)
        beam = self.head(h).topk(3, 1).indices % 3
        return steps.gather(1, beam[..., None].expand(-1, -1, steps.size(2))).sum(-1)


class Fft(nn.Module):
    """The magnitudes of each frame's spectrum, and a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(9, 10, batch_first=True), nn.Linear(10, 3)

    def forward(self, frames: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(frames, dim=-1)
        return self.head(self.gru(torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-6))[0])


class Fnet(nn.Module):
    """Frames mixed by a Fourier transform over features and time."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.fft.fft(torch.fft.fft(x, dim=-1), dim=1).real
        return self.head(F.gelu(self.norm(x + mixed)))
