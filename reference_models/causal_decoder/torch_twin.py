"""The causal decoder in PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.causal_decoder.spec import (
    DIM,
    EPSILON,
    HEAD,
    HEADS,
    LONGEST,
    SYMBOLS,
    TOKENS,
    WIDE,
)


class CausalDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, DIM)
        self.positions = nn.Embedding(2 * LONGEST, DIM)
        self.attention_norm = nn.LayerNorm(DIM, EPSILON)
        self.query, self.key, self.value = (nn.Linear(DIM, HEADS * HEAD) for _ in range(3))
        self.attended = nn.Linear(HEADS * HEAD, DIM)
        self.wide_norm = nn.LayerNorm(DIM, EPSILON)
        self.wide = nn.Linear(DIM, WIDE)
        self.labels = nn.Linear(WIDE, SYMBOLS)

    def forward(
        self, tokens: Tensor, past_key: Tensor, past_value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        places = torch.arange(tokens.shape[1], device=tokens.device) + past_key.shape[2]
        x = self.embedding(tokens) + self.positions(places)
        y = self.attention_norm(x)
        query, key, value = (
            layer(y).unflatten(-1, (HEADS, HEAD)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        key = torch.cat([past_key, key], dim=2)
        value = torch.cat([past_value, value], dim=2)
        scores = query @ key.transpose(2, 3) * HEAD**-0.5
        seen = torch.arange(key.shape[2], device=tokens.device) <= places[:, None]
        attended = torch.where(seen, scores, -1e4).softmax(-1) @ value
        x = x + self.attended(attended.transpose(1, 2).flatten(2))
        x = F.relu(self.wide(self.wide_norm(x)))
        return self.labels(x), key, value


def build(name: str) -> nn.Module:
    return CausalDecoder()
