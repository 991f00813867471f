"""The Transformer encoder in PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.transformer_encoder.spec import (
    DIM,
    EPSILON,
    HEAD,
    HEADS,
    LABELS,
    LONGEST,
    TOKENS,
    WIDE,
)


class TransformerEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, DIM)
        self.positions = nn.Embedding(LONGEST + 1, DIM)
        self.attention_norm = nn.LayerNorm(DIM, EPSILON)
        self.query, self.key, self.value = (nn.Linear(DIM, HEADS * HEAD) for _ in range(3))
        self.attended = nn.Linear(HEADS * HEAD, DIM)
        self.wide_norm = nn.LayerNorm(DIM, EPSILON)
        self.wide = nn.Linear(DIM, WIDE)
        self.narrow = nn.Linear(WIDE, DIM)
        self.labels = nn.Linear(DIM, LABELS)

    def forward(self, tokens: Tensor) -> Tensor:
        valid = tokens != 0
        places = valid.to(torch.int64).cumsum(1) * valid
        x = self.embedding(tokens) + self.positions(places)
        y = self.attention_norm(x)
        heads = (
            layer(y).unflatten(-1, (HEADS, HEAD)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(*heads, attn_mask=valid[:, None, None, :])
        x = x + self.attended(y.transpose(1, 2).flatten(2))
        x = x + self.narrow(F.relu(self.wide(self.wide_norm(x))))
        return torch.where(valid[..., None], self.labels(x), 0.0)


def build(name: str) -> nn.Module:
    return TransformerEncoder()
