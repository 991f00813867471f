"""The fixed-length autoencoder in PyTorch."""

import torch
from torch import Tensor, nn

from reference_models.fixed_length_autoencoder.spec import DIM, STEPS, UNITS, VOCABULARY
from reference_models.torch_masking import Steps


class FixedLengthAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, DIM)
        self.encoder = nn.LSTM(DIM, UNITS, batch_first=True)
        self.decoder = nn.LSTM(UNITS, UNITS, batch_first=True)
        self.probabilities = nn.Linear(UNITS, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        steps = Steps(tokens)
        x, _ = self.encoder(self.embedding(steps.ids))
        code = steps.last(x)
        x, _ = self.decoder(code[:, None].expand(-1, STEPS, -1))
        return torch.softmax(self.probabilities(x), dim=-1)


def build(name: str) -> nn.Module:
    return FixedLengthAutoencoder()
