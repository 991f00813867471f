"""PyTorch nets that are loops over the steps: what their length is, is known when they run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

X = ("x: float32[batch, time, 6]",)
PAIR = ("source: float32[batch, source, 6]", "target: float32[batch, target, 3]")


class LstmCells(nn.Module):
    """Two LSTM cells above each other"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high, self.head = nn.LSTMCell(6, 8), nn.LSTMCell(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = c = g = d = x.new_zeros(x.shape[0], 8)
        steps = []
        for t in range(x.shape[1]):
            h, c = self.low(x[:, t], (h, c))
            g, d = self.high(h, (g, d))
            steps.append(self.head(g))
        return torch.stack(steps, 1)


class GruBack(nn.Module):
    """A GRU cell from the last step to the first"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        h, steps = x.new_zeros(x.shape[0], 8), []
        for t in reversed(range(x.shape[1])):
            h = self.cell(x[:, t], h)
            steps.insert(0, h)
        return torch.stack(steps, 1)


class MinimalGate(nn.Module):
    """A cell of one's own: a minimal gated unit with layer norm"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.forget, self.new, self.norm = nn.Linear(14, 8), nn.Linear(14, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        h, steps = x.new_zeros(x.shape[0], 8), []
        for step in x.unbind(1):
            f = torch.sigmoid(self.forget(torch.cat([step, h], -1)))
            new = torch.tanh(self.norm(self.new(torch.cat([step, f * h], -1))))
            h = (1 - f) * h + f * new
            steps.append(h)
        return torch.stack(steps, 1)


class ConvolvedLstm(nn.Module):
    """ConvLSTM over frames of pictures"""

    inputs = ("video: float32[batch, time, 1, 5, 5]",)

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Conv2d(1 + 3, 4 * 3, 3, padding=1)

    def forward(self, video: Tensor) -> Tensor:
        h = c = video.new_zeros(video.shape[0], 3, 5, 5)
        for t in range(video.size(1)):
            i, f, o, g = self.gates(torch.cat([video[:, t], h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h.flatten(1)


class SelectiveScan(nn.Module):
    """Selective state space of Mamba, step by step"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.delta, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 4), nn.Linear(6, 4)
        self.a = nn.Parameter(torch.log(torch.arange(1.0, 5.0)).repeat(6, 1))

    def forward(self, x: Tensor) -> Tensor:
        delta = nn.functional.softplus(self.delta(x))
        decay = torch.exp(delta[..., None] * -torch.exp(self.a))
        fed = (delta * x)[..., None] * self.b(x)[:, :, None]
        state, steps, read = x.new_zeros(x.shape[0], 6, 4), [], self.c(x)
        for t in range(x.shape[1]):
            state = decay[:, t] * state + fed[:, t]
            steps.append((state * read[:, t, None]).sum(-1))
        return torch.stack(steps, 1)


class LinearRecurrence(nn.Module):
    """A linear recurrence with a decay of each feature"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.decay, self.mix = nn.Parameter(torch.linspace(-1, 3, 6)), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        decay, h, steps = torch.sigmoid(self.decay), torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            h = decay * h + (1 - decay) * x[:, t]
            steps.append(h)
        return self.mix(torch.stack(steps, dim=1))


class QuasiRecurrent(nn.Module):
    """QRNN: gates of a convolution, pooling in a loop"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 3 * 5, 2)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.conv(nn.functional.pad(x.transpose(1, 2), (1, 0))).transpose(1, 2)
        z, f, o = gates.chunk(3, -1)
        c, steps = torch.zeros_like(z[:, 0]), []
        for t in range(x.shape[1]):
            keep = torch.sigmoid(f[:, t])
            c = keep * c + (1 - keep) * torch.tanh(z[:, t])
            steps.append(torch.sigmoid(o[:, t]) * c)
        return torch.stack(steps, 1)


class Partition(nn.Module):
    """The log partition of a conditional random field"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.head, self.moves = nn.Linear(6, 4), nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(x)
        alpha = scores[:, 0]
        for t in range(1, x.shape[1]):
            alpha = torch.logsumexp(alpha[:, :, None] + self.moves, 1) + scores[:, t]
        return torch.logsumexp(alpha, 1)


class Viterbi(Partition):
    """The best path through a conditional random field, and its score"""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, back = self.head(x), []
        best = scores[:, 0]
        for t in range(1, x.shape[1]):
            best, place = (best[:, :, None] + self.moves).max(1)
            best = best + scores[:, t]
            back.append(place)
        score, tag = best.max(1)
        path = [tag]
        for place in reversed(back):
            tag = place.gather(1, tag[:, None])[:, 0]
            path.append(tag)
        return score, torch.stack(path[::-1], 1)


class PointerNetwork(nn.Module):
    """A pointer network: each target step points at a source step"""

    inputs = PAIR

    def __init__(self) -> None:
        super().__init__()
        self.read, self.cell = nn.GRU(6, 8, batch_first=True), nn.GRUCell(3, 8)
        self.key, self.query, self.score = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, last = self.read(source)
        h, keys, steps = last[0], self.key(memory), []
        for t in range(target.shape[1]):
            h = self.cell(target[:, t], h)
            steps.append(self.score(torch.tanh(keys + self.query(h)[:, None])).squeeze(-1))
        return torch.log_softmax(torch.stack(steps, 1), -1)


class TaughtDecoder(nn.Module):
    """A decoder with attention, fed with the target's steps and its last context"""

    inputs = PAIR

    def __init__(self) -> None:
        super().__init__()
        self.read, self.cell = nn.LSTM(6, 8, batch_first=True), nn.LSTMCell(3 + 8, 8)
        self.query, self.head = nn.Linear(8, 8, bias=False), nn.Linear(16, 5)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, (h, c) = self.read(source)
        h, c = h[0], c[0]
        context, steps = torch.zeros_like(h), []
        for t in range(target.shape[1]):
            h, c = self.cell(torch.cat([target[:, t], context], 1), (h, c))
            weights = torch.softmax((memory @ self.query(h)[..., None]).squeeze(-1), -1)
            context = (weights[..., None] * memory).sum(1)
            steps.append(self.head(torch.cat([h, context], 1)))
        return torch.stack(steps, 1)


class Forecast(nn.Module):
    """An LSTM cell over the past, and four steps into the future on what it says itself"""

    inputs = ("x: float32[batch, time, 1]",)

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(1, 9), nn.Linear(9, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = c = torch.zeros(x.shape[0], 9, dtype=x.dtype)
        steps, said = [], x[:, 0]
        for t in range(x.shape[1]):
            h, c = self.cell(x[:, t], (h, c))
            said = self.head(h)
            steps.append(said)
        for _ in range(4):
            h, c = self.cell(said, (h, c))
            said = self.head(h)
            steps.append(said)
        return torch.stack(steps, 1)


class ExponentialGates(nn.Module):
    """The scalar LSTM of xLSTM: exponential gates held by their running maximum"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.given, self.own = nn.Linear(6, 16), nn.Linear(4, 16, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = c = n = m = x.new_zeros(x.shape[0], 4)
        steps = []
        for t in range(x.shape[1]):
            z, i, f, o = (self.given(x[:, t]) + self.own(h)).chunk(4, -1)
            top = torch.maximum(f + m, i)
            keep, take, m = torch.exp(f + m - top), torch.exp(i - top), top
            c, n = keep * c + take * torch.tanh(z), keep * n + take
            h = torch.sigmoid(o) * c / n
            steps.append(h)
        return torch.stack(steps, 1)


class DeltaRule(nn.Module):
    """Fast weights by the delta rule: a matrix of each row is the state"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.rate = nn.Linear(6, 12), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k = torch.softmax(q, -1), torch.softmax(k, -1)
        rate, fast, steps = torch.sigmoid(self.rate(x)), x.new_zeros(x.shape[0], 4, 4), []
        for t in range(x.shape[1]):
            old = torch.einsum("bij,bj->bi", fast, k[:, t])
            fast = fast + torch.einsum("bi,bj->bij", rate[:, t] * (v[:, t] - old), k[:, t])
            steps.append(torch.einsum("bij,bj->bi", fast, q[:, t]))
        return torch.stack(steps, 1)
