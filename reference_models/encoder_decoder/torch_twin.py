"""The encoder and decoder in PyTorch."""

import torch
from torch import Tensor, nn

from reference_models.encoder_decoder.spec import DIM, UNITS, VOCABULARY
from reference_models.torch_masking import Steps


class EncoderDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(VOCABULARY, DIM)
        self.encoder = nn.LSTM(DIM, UNITS, batch_first=True)
        self.target_embedding = nn.Embedding(VOCABULARY, DIM)
        self.decoder = nn.LSTM(DIM, UNITS, batch_first=True)
        self.logits = nn.Linear(UNITS, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        steps = Steps(source)
        _, (h, c) = self.encoder(steps.packed(self.source_embedding(steps.ids)))
        h, c = torch.where(steps.any, h, 0.0), torch.where(steps.any, c, 0.0)
        x, _ = self.decoder(self.target_embedding(target), (h, c))
        return self.logits(x)


def build(name: str) -> nn.Module:
    return EncoderDecoder()
