"""The recogniser in PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reference_models.ctc_recogniser.spec import CHANNELS, FEATURES, LABELS, STRIDE, UNITS, WIDTH


def _valid(x: Tensor, counts: Tensor) -> Tensor:
    """Return which steps of ``x`` lie within each row's count, [batch, steps]."""
    steps = torch.arange(x.shape[1], device=x.device)
    return steps < counts[:, None]


class CTCRecogniser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(FEATURES, CHANNELS, WIDTH, STRIDE, padding=WIDTH // 2)
        self.conv_2 = nn.Conv1d(CHANNELS, CHANNELS, WIDTH, STRIDE, padding=WIDTH // 2)
        self.lstm = nn.LSTM(CHANNELS, UNITS, bidirectional=True, batch_first=True)
        self.logits = nn.Linear(2 * UNITS, LABELS)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        counts = lengths
        x = torch.where(_valid(features, counts)[..., None], features, 0.0).transpose(1, 2)
        for layer in (self.conv_1, self.conv_2):
            counts = (counts + (STRIDE - 1)) // STRIDE
            x = F.relu(layer(x))
            x = torch.where(_valid(x.transpose(1, 2), counts)[:, None], x, 0.0)
        x = x.transpose(1, 2).contiguous()
        packed = pack_padded_sequence(
            x, counts.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        y, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        return torch.where(_valid(x, counts)[..., None], self.logits(y), 0.0), counts


def build(name: str) -> nn.Module:
    return CTCRecogniser()
