"""The bidirectional tagger in PyTorch."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_packed_sequence

from reference_models.bidirectional_tagger.spec import DIM, TAGS, TOKENS, UNITS
from reference_models.torch_masking import Steps


class BidirectionalTagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, DIM)
        self.lstm = nn.LSTM(DIM, UNITS, bidirectional=True, batch_first=True)
        self.probabilities = nn.Linear(2 * UNITS, TAGS)

    def forward(self, tokens: Tensor) -> Tensor:
        steps = Steps(tokens)
        packed, _ = self.lstm(steps.packed(self.embedding(steps.ids)))
        x, _ = pad_packed_sequence(packed, batch_first=True, total_length=tokens.shape[1])
        return torch.softmax(self.probabilities(steps.spread(x)), dim=-1)


def build(name: str) -> nn.Module:
    return BidirectionalTagger()
