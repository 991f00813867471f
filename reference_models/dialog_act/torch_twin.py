"""The dialogue acts in PyTorch."""

import torch
from torch import Tensor, nn

from reference_models.dialog_act.spec import ACTS, DIM, UNITS, WORDS
from reference_models.torch_masking import Steps


class _DialogActs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, DIM)
        self.lstm = nn.LSTM(DIM, UNITS, batch_first=True)
        self.acts = nn.Linear(UNITS, ACTS)


class Tagger(_DialogActs):
    def forward(self, words: Tensor) -> Tensor:
        steps = Steps(words)
        x, _ = self.lstm(self.embedding(steps.ids))
        return torch.sigmoid(self.acts(steps.spread(x)))


class Classifier(_DialogActs):
    def forward(self, words: Tensor) -> Tensor:
        steps = Steps(words)
        x, _ = self.lstm(self.embedding(steps.ids))
        return torch.sigmoid(self.acts(steps.last(x)))


def build(name: str) -> nn.Module:
    return Tagger() if name == "dialog_act_tagger" else Classifier()
