"""PyTorch models that ``proof.py`` exports: two of real size, and twins of reference models."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parents[2] / "golden"
INPUTS = {
    "tiny": ("x: float32[batch, time, 4]",),
    "bilstm": ("x: float32[batch, time, 80]",),
    "transformer": ("x: float32[batch, time, 320]",),
    "stacked_classifier": ("features: float32[batch, sequence, 100]",),
    "two_input_qa": (
        "text: int32[batch, text_length] in 0..9999",
        "question: int32[batch, question_length] in 0..9999",
    ),
    "gru_tagger": ("tokens: int32[batch, sequence] in 1..24, padding 0",),
}


class Recurrent(nn.Module):
    def __init__(self, features: int, units: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, units, layers, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * units, 40)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(320, 8, 1280, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(320, 40)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def tiny() -> nn.Module:
    """What costs nothing, to tell what a process takes that only starts."""
    torch.manual_seed(0)
    return Recurrent(4, 4, 1).eval()


def bilstm() -> nn.Module:
    """Four layers of 320 units in both directions, 34 MB."""
    torch.manual_seed(0)
    return Recurrent(80, 320, 4).eval()


def transformer() -> nn.Module:
    """Four layers of width 320, 20 MB."""
    torch.manual_seed(0)
    return Encoder().eval()


def _twin(name: str) -> nn.Module:
    from harness.frameworks import torch_twin
    from harness.goldens import store
    from reference_models import catalog

    spec = catalog.load(name)
    parameters = store.read(GOLDEN / name / "torch").parameters()
    return torch_twin.build(catalog.part(spec, "torch_twin"), spec, parameters)


def stacked_classifier() -> nn.Module:
    return _twin("stacked_classifier")


def two_input_qa() -> nn.Module:
    return _twin("two_input_qa")


def gru_tagger() -> nn.Module:
    return _twin("gru_tagger")
