"""The language model in PyTorch."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_packed_sequence

from reference_models.language_model.spec import DIM, DROPOUT, UNITS, VOCABULARY
from reference_models.torch_masking import Steps


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, DIM)
        self.lstm = nn.LSTM(DIM, UNITS, num_layers=2, dropout=DROPOUT, batch_first=True)
        self.logits = nn.Linear(UNITS, VOCABULARY)

    def forward(
        self, tokens: Tensor, h0_1: Tensor, c0_1: Tensor, h0_2: Tensor, c0_2: Tensor
    ) -> tuple[Tensor, ...]:
        steps = Steps(tokens)
        h0, c0 = torch.stack((h0_1, h0_2)), torch.stack((c0_1, c0_2))
        packed, (h, c) = self.lstm(steps.packed(self.embedding(steps.ids)), (h0, c0))
        x, _ = pad_packed_sequence(packed, batch_first=True, total_length=tokens.shape[1])
        states = zip((h[0], c[0], h[1], c[1]), (h0_1, c0_1, h0_2, c0_2), strict=True)
        return (self.logits(steps.spread(x)), *(torch.where(steps.any, a, b) for a, b in states))


def build(name: str) -> nn.Module:
    return LanguageModel()
