"""The GRU tagger in PyTorch, whose GRU has its reset gate after the recurrent product."""

import torch
from torch import Tensor, nn

from reference_models.gru_tagger.spec import DIM, TAGS, TOKENS, UNITS
from reference_models.torch_masking import Steps


class GRUTagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, DIM)
        self.gru = nn.GRU(DIM, UNITS, batch_first=True)
        self.probabilities = nn.Linear(UNITS, TAGS)

    def forward(self, tokens: Tensor) -> Tensor:
        steps = Steps(tokens)
        x, _ = self.gru(self.embedding(steps.ids))
        return torch.softmax(self.probabilities(steps.spread(x)), dim=-1)


def build(name: str) -> nn.Module:
    return GRUTagger()
