"""The stacked classifier in PyTorch."""

import torch
from torch import Tensor, nn

from reference_models.stacked_classifier.spec import FEATURES, LABELS, UNITS


class _Stacked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm_1 = nn.LSTM(FEATURES, UNITS, batch_first=True)
        self.lstm_2 = nn.LSTM(UNITS, UNITS, batch_first=True)
        self.label = nn.Linear(UNITS, LABELS)


class StackedClassifier(_Stacked):
    def forward(self, features: Tensor) -> Tensor:
        x, _ = self.lstm_1(features)
        _, (h, _) = self.lstm_2(x)
        return torch.softmax(self.label(h[0]), dim=-1)


class StreamingClassifier(_Stacked):
    def forward(
        self, features: Tensor, h0_1: Tensor, c0_1: Tensor, h0_2: Tensor, c0_2: Tensor
    ) -> tuple[Tensor, ...]:
        x, (h_1, c_1) = self.lstm_1(features, (h0_1[None], c0_1[None]))
        _, (h_2, c_2) = self.lstm_2(x, (h0_2[None], c0_2[None]))
        label = torch.softmax(self.label(h_2[0]), dim=-1)
        return label, h_1[0], c_1[0], h_2[0], c_2[0]


def build(name: str) -> nn.Module:
    return StackedClassifier() if name == "stacked_classifier" else StreamingClassifier()
