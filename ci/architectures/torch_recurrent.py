"""PyTorch nets of recurrent layers: lengths, states, several inputs and outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

X = ("x: float32[batch, time, 6]",)
COUNTED = (*X, "lengths: int64[batch], lengths of time")
TOKENS = ("tokens: int64[batch, time] in 0..29, padding 0, right",)


class Packed(nn.Module):
    """Two packed layers in both directions"""

    inputs = COUNTED

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        y, (h, _) = self.lstm(packed)
        return pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], h


class Sorted(Packed):
    """Rows sorted by length, packed, and put back"""

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        ordered, order = lengths.sort(descending=True)
        back = order.argsort()
        y, (h, _) = self.lstm(pack_padded_sequence(x[order], ordered, batch_first=True))
        y = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0]
        return y[back], h[:, back]


class Projected(nn.Module):
    """An LSTM with a projection"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 10, batch_first=True, proj_size=4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, (_, c) = self.lstm(x)
        return y, c


class TimeMajor(nn.Module):
    """Time first, mean over the valid steps"""

    inputs = ("tokens: int64[time, batch] in 0..29, padding 0",)

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(30, 6, padding_idx=0), nn.GRU(6, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        kept = (tokens != 0)[..., None].to(self.embed.weight.dtype)
        return (self.gru(self.embed(tokens))[0] * kept).sum(0) / kept.sum(0).clamp(min=1)


class TupleState(nn.Module):
    """A state that is a tuple, in and out"""

    inputs = (*X, "state.0: float32[1, batch, 8]", "state.1: float32[1, batch, 8]")

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return self.lstm(x, state)


class Flipped(nn.Module):
    """A backward layer by two flips"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.there, self.back = nn.GRU(6, 8, batch_first=True), nn.GRU(6, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.there(x)[0], self.back(x.flip(1))[0].flip(1)], -1)


class Learned(nn.Module):
    """An initial state that is learned"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.start = nn.GRU(6, 8, 2, batch_first=True), nn.Parameter(torch.randn(2, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x, self.start.expand(-1, x.shape[0], -1).contiguous())[0]


class Residual(nn.Module):
    """Three layers with residuals and layer norm between them"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.LSTM(6, 6, batch_first=True) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + layer(norm(x))[0]
        return x


class Bag(nn.Module):
    """EmbeddingBag: the mean of a row's words"""

    inputs = ("tokens: int64[batch, time] in 0..29",)

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(30, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.bag(tokens))


class Hierarchy(nn.Module):
    """Words in sentences in a text: a GRU over each"""

    inputs = ("tokens: int64[batch, sentences, words] in 0..29",)

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.words = nn.Embedding(30, 6), nn.GRU(6, 8, batch_first=True)
        self.sentences = nn.GRU(8, 8, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens.flatten(0, 1))
        sentences = self.words(x)[0].amax(1).view(tokens.shape[0], tokens.shape[1], 8)
        return self.sentences(sentences)[0]


class Twins(nn.Module):
    """One encoder of two texts, and how like they are"""

    inputs = (
        "left: int64[batch, first] in 0..29, padding 0, right",
        "other: int64[batch, second] in 0..29, padding 0, right",
    )

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(30, 6), nn.GRU(6, 8, batch_first=True)

    def read(self, tokens: Tensor) -> Tensor:
        kept = (tokens != 0)[..., None]
        return self.gru(self.embed(tokens))[0].masked_fill(~kept, -10.0).amax(1)

    def forward(self, left: Tensor, other: Tensor) -> Tensor:
        return torch.cosine_similarity(self.read(left), self.read(other))


class Transducer(nn.Module):
    """RNN-T: an encoder, a prediction net over shifted labels, their sum at each pair"""

    inputs = (*X, "labels: int64[batch, label] in 1..9")

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.predict = nn.LSTM(6, 8, batch_first=True), nn.LSTM(6, 8, batch_first=True)
        self.embed, self.head = nn.Embedding(10, 6), nn.Linear(8, 10)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        heard = self.encode(x)[0]
        said = self.predict(self.embed(nn.functional.pad(labels, (1, 0))))[0]
        return self.head(torch.tanh(heard[:, :, None] + said[:, None])).log_softmax(-1)


class Heads(nn.Module):
    """Tags of each step and a class of the row, in a dictionary"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.tags, self.kind = (
            nn.GRU(6, 8, batch_first=True),
            nn.Linear(8, 5),
            nn.Linear(8, 2),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y, last = self.gru(x)
        return {"tags": self.tags(y), "kind": self.kind(last[-1]).softmax(-1)}


class Scaled(nn.Module):
    """A forecast of mean and deviation, scaled by the row's own mean"""

    inputs = ("x: float32[batch, time] in 1..5",)

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(1, 8, 2, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scale = x.abs().mean(1, keepdim=True) + 1
        mean, spread = self.head(self.lstm((x / scale)[..., None])[0]).unbind(-1)
        return mean * scale, nn.functional.softplus(spread) * scale


class Collapsed(nn.Module):
    """Greedy CTC inside the model: repeats and blanks become -1"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 8, batch_first=True, bidirectional=True), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        best = self.head(self.lstm(x)[0]).argmax(-1)
        before = nn.functional.pad(best[:, :-1], (1, 0), value=-1)
        return torch.where((best == before) | (best == 0), -1, best)


class Cut(nn.Module):
    """An input cut to the longest row: a size that depends on the data"""

    inputs = COUNTED

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 8, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        size = int(lengths.max().item())
        kept = (torch.arange(size)[None] < lengths[:, None])[..., None].to(x.dtype)
        return (self.gru(x[:, :size])[0] * kept).sum(1)


class Rectified(nn.Module):
    """nn.RNN with ReLU, two layers, both directions"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(6, 8, 2, "relu", batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.rnn(x)


class Reversed(nn.Module):
    """A backward layer over rows reversed within their lengths by gather"""

    inputs = COUNTED

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 8, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])[None]
        back = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
        rows = back[..., None]
        y = self.gru(x.gather(1, rows.expand(-1, -1, 6)))[0]
        return y.gather(1, rows.expand(-1, -1, 8))
