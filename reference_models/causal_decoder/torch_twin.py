"""The causal decoder in PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.causal_decoder.spec import DIM, EPSILON, HEAD, LONGEST, SYMBOLS, TOKENS, WIDE


class CausalDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, DIM)
        self.positions = nn.Embedding(2 * LONGEST, DIM)
        self.attention_norm = nn.LayerNorm(DIM, EPSILON)
        self.query, self.key, self.value = (nn.Linear(DIM, HEAD) for _ in range(3))
        self.attended = nn.Linear(HEAD, DIM)
        self.wide_norm = nn.LayerNorm(DIM, EPSILON)
        self.wide = nn.Linear(DIM, WIDE)
        self.labels = nn.Linear(WIDE, SYMBOLS)

    def forward(
        self, tokens: Tensor, past_key: Tensor, past_value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        places = torch.arange(tokens.shape[1], device=tokens.device) + past_key.shape[1]
        x = self.embedding(tokens) + self.positions(places)
        y = self.attention_norm(x)
        key = torch.cat([past_key, self.key(y)], dim=1)
        value = torch.cat([past_value, self.value(y)], dim=1)
        scores = self.query(y) @ key.transpose(1, 2) * HEAD**-0.5
        seen = torch.arange(key.shape[1], device=tokens.device) <= places[:, None]
        x = x + self.attended(torch.where(seen, scores, -1e4).softmax(-1) @ value)
        x = F.relu(self.wide(self.wide_norm(x)))
        return self.labels(x), key, value


def build(name: str) -> nn.Module:
    return CausalDecoder()
