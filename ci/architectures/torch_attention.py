"""PyTorch nets of attention: masks, positions, caches."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

X = ("x: float32[batch, time, 8]",)
IDS = "int64[batch, time] in 1..29"
COUNTED = ("x: float32[batch, time, 8]", "lengths: int64[batch], lengths of time")


def split(x: Tensor, heads: int = 2) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


class CausalEncoder(nn.Module):
    """nn.TransformerEncoder with a causal mask made in forward"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[1]
        return self.encoder(x, mask=torch.triu(torch.ones(size, size, dtype=torch.bool), 1))


class Translator(nn.Module):
    """nn.Transformer: padded source, causal target"""

    inputs = (
        "source: int64[batch, time] in 0..29, padding 0, right, never empty",
        "target: int64[batch, steps] in 1..29",
    )

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(30, 8), nn.Embedding(30, 8)
        self.both, self.head = nn.Transformer(8, 2, 1, 1, 16, batch_first=True), nn.Linear(8, 30)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        pad, size = source == 0, target.shape[1]
        causal = torch.triu(torch.full((size, size), float("-inf")), 1).to(self.head.weight.dtype)
        y = self.both(
            *(self.source(source), self.target(target)),
            tgt_mask=causal,
            src_key_padding_mask=pad,
            memory_key_padding_mask=pad,
        )
        return self.head(y)


class RotaryDecoder(nn.Module):
    """A language model with rotary positions and root mean square norms"""

    inputs = (f"tokens: {IDS}",)

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(30, 16), nn.RMSNorm(16)
        self.qkv, self.out, self.head = nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 30)
        self.register_buffer("rates", 10000 ** -(torch.arange(0, 8, 2) / 8), persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[2], device=x.device)[:, None] * self.rates
        a, b = x.chunk(2, -1)
        return torch.cat(
            [a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1
        )

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        q, k, v = map(split, self.qkv(self.norm(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=True)
        return self.head(x + self.out(joined(y)))


class CachedStep(nn.Module):
    """Attention over a cache of keys and values, which is an input and an output"""

    inputs = (
        "x: float32[batch, time, 8]",
        "keys: float32[batch, 2, past, 4]",
        "values: float32[batch, 2, past, 4]",
        "mask: int64[batch, past + time], mask of past + time",
    )

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = map(split, self.qkv(x).chunk(3, -1))
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        scores = q @ k.transpose(-1, -2) / 2 + (1 - mask[:, None, None].to(x.dtype)) * -1e4
        return joined(torch.softmax(scores, -1) @ v), k, v


class Buckets(nn.Module):
    """Relative positions in buckets, as T5 has them"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.bias = nn.Linear(8, 24), nn.Embedding(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        apart = places[None] - places[:, None]
        far = 4 + (torch.log(apart.abs().clamp(min=1).to(x.dtype) / 4) * 2).long()
        bucket = torch.where(apart.abs() < 4, apart.abs(), far.clamp(max=7)) + 8 * (apart > 0)
        q, k, v = map(split, self.qkv(x).chunk(3, -1))
        scores = q @ k.transpose(-1, -2) + self.bias(bucket).permute(2, 0, 1)
        return joined(torch.softmax(scores, -1) @ v)


class Slopes(nn.Module):
    """ALiBi: scores fall with the distance"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.register_buffer("slopes", torch.tensor([0.5, 0.25])[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        apart = places[None] - places[:, None]
        bias = (self.slopes * apart).masked_fill(apart > 0, float("-inf"))
        q, k, v = map(split, self.qkv(x).chunk(3, -1))
        return joined(F.scaled_dot_product_attention(q, k, v, attn_mask=bias))


class LinearAttention(nn.Module):
    """Causal linear attention by running sums"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = map(split, self.qkv(x).chunk(3, -1))
        q, k = F.elu(q) + 1, F.elu(k) + 1
        state = torch.cumsum(k[..., None] * v[..., None, :], 2)
        y = (q[..., None, :] @ state).squeeze(-2)
        return joined(y / (q * torch.cumsum(k, 2)).sum(-1, keepdim=True))


class Chunks(nn.Module):
    """Attention within a chunk of eight steps and the one before, over rows of given lengths"""

    inputs = COUNTED

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        chunk = torch.arange(x.shape[1]) // 8
        apart = chunk[:, None] - chunk[None]
        closed = (apart < 0) | (apart > 1)
        y = self.attention(x, x, x, attn_mask=closed, need_weights=False)[0]
        kept = torch.arange(x.shape[1])[None] < lengths[:, None]
        return y * kept[..., None].to(x.dtype)


class Shifted(nn.Module):
    """Transformer-XL: relative positions by padding and reshaping"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.place = nn.Linear(8, 24), nn.Linear(8, 8, bias=False)
        self.u, self.w = (nn.Parameter(torch.randn(2, 1, 4) / 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, _ = x.shape
        angles = torch.arange(steps - 1, -steps, -1)[:, None] * 0.5 ** torch.arange(4)
        table = torch.cat([angles.sin(), angles.cos()], -1).to(x.dtype)
        q, k, v = map(split, self.qkv(x).chunk(3, -1))
        moved = (q + self.w) @ split(self.place(table)[None]).transpose(-1, -2)
        moved = F.pad(moved, (1, 0)).view(batch, 2, -1, steps)[:, :, 1:].reshape(moved.shape)
        scores = (q + self.u) @ k.transpose(-1, -2) + moved[..., :steps]
        return joined(torch.softmax(scores / 2, -1) @ v)


class Pooled(nn.Module):
    """Attentive statistics: weighted mean and deviation over the valid steps"""

    inputs = COUNTED

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 8))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        valid = torch.arange(x.shape[1])[None] < lengths.clamp(min=1)[:, None]
        weights = torch.softmax(self.score(x).masked_fill(~valid[..., None], -1e9), 1)
        mean = (weights * x).sum(1)
        spread = (weights * (x - mean[:, None]) ** 2).sum(1)
        return torch.cat([mean, torch.sqrt(spread + 1e-5)], -1)


class GroupedKeys(nn.Module):
    """One head of keys for four of queries, causal"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv = nn.Linear(8, 16), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, (k, v) = split(self.q(x), 4), self.kv(x)[:, None].chunk(2, -1)
        k, v = k.expand(-1, 4, -1, -1), v.expand(-1, 4, -1, -1)
        return joined(F.scaled_dot_product_attention(q, k, v, is_causal=True))


class Perceiver(nn.Module):
    """Five learned queries over an input of any length, twice"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, 5, 8))
        self.reads = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.latents.expand(x.shape[0], -1, -1)
        for read in self.reads:
            y = y + read(y, x, x, need_weights=False)[0]
        return y


class Sinusoids(nn.Module):
    """Positions of sines computed in forward, then nn.TransformerEncoderLayer"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        rates = torch.exp(torch.arange(0, 8, 2) * (-math.log(10000.0) / 8))
        angles = torch.arange(x.size(1))[:, None] * rates
        return self.layer(x + torch.cat([angles.sin(), angles.cos()], 1).to(x.dtype))


class CrossPadded(nn.Module):
    """Attention of a padded target over a padded source"""

    inputs = (
        "source: int64[batch, source] in 0..29, padding 0, right, never empty",
        "target: int64[batch, target] in 0..29, padding 0, right",
    )

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attention = (
            nn.Embedding(30, 8),
            nn.MultiheadAttention(8, 2, batch_first=True),
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        keys = self.embed(source)
        y = self.attention(self.embed(target), keys, keys, key_padding_mask=source == 0)[0]
        return y * (target != 0)[..., None].to(y.dtype)


class Retention(nn.Module):
    """Retention in its parallel form: a decay of each head"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.norm = nn.Linear(8, 24), nn.GroupNorm(2, 8)
        self.register_buffer("decay", torch.tensor([0.9, 0.7])[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        apart = (places[:, None] - places[None]).to(x.dtype)
        kept = torch.where(apart >= 0, self.decay ** apart.clamp(min=0), torch.zeros_like(apart))
        q, k, v = map(split, self.qkv(x).chunk(3, -1))
        y = joined(q @ k.transpose(-1, -2) * kept @ v)
        return self.norm(y.flatten(0, 1)).view(y.shape)


class Experts(nn.Module):
    """Two of four experts for each step"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 4)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        best = self.gate(x).topk(2, -1)
        weights = torch.zeros_like(self.gate(x)).scatter(-1, best.indices, best.values.softmax(-1))
        said = torch.stack([F.gelu(expert(x)) for expert in self.experts], -1)
        return (said * weights[..., None, :]).sum(-1)


class LongConvolution(nn.Module):
    """A filter as long as the input, applied by Fourier transforms"""

    inputs = X

    def __init__(self) -> None:
        super().__init__()
        self.decay, self.gate = nn.Parameter(torch.linspace(0.1, 2, 8)), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[1]
        taps = torch.exp(-self.decay * torch.arange(steps)[:, None])
        spectrum = torch.fft.rfft(x, 2 * steps, 1) * torch.fft.rfft(taps, 2 * steps, 0)
        return torch.fft.irfft(spectrum, 2 * steps, 1)[:, :steps] * torch.sigmoid(self.gate(x))
