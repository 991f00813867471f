"""The model in PyTorch."""

import torch
from torch import Tensor, nn

from echo_models import DIM, TOKENS, UNITS


class Echo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, DIM)
        self.gru = nn.GRU(DIM, UNITS, batch_first=True)
        self.before = nn.Linear(UNITS, TOKENS)

    def forward(self, tokens: Tensor) -> Tensor:
        x, _ = self.gru(self.embedding(tokens))
        return torch.softmax(self.before(x), dim=-1)


def build(name: str) -> nn.Module:
    return Echo()
