"""PyTorch models that cannot be exported exactly."""

import torch
from torch import nn

FEATURES, UNITS = 5, 3


class Branching(nn.Module):
    """Goes another way where a value is positive."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(FEATURES, UNITS, batch_first=True)

    def forward(self, x):
        return self.gru(x if x.sum() > 0 else -x)[0][:, -1]


class Squeezing(nn.Module):
    """Drops the batch's axis where it has one row."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(FEATURES, UNITS, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0][:, -1].squeeze()


class Remembering(nn.Module):
    """Keeps its state in an attribute."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(FEATURES, UNITS, batch_first=True)
        self.state = None

    def forward(self, x):
        y, self.state = self.gru(x, self.state)
        return y[:, -1]


class Noisy(nn.Module):
    """Drops out in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(FEATURES, UNITS, batch_first=True)

    def forward(self, x):
        return torch.nn.functional.dropout(self.gru(x)[0][:, -1], 0.5, training=True)


MODELS = {
    "branching": (Branching, "Branching|data-dependent"),
    "squeezing": (Squeezing, "squeeze\\(\\) without an axis"),
    "remembering": (Remembering, "state changes in forward"),
    "noisy": (Noisy, "draws random numbers"),
}


def build(name):
    return MODELS[name.removeprefix("refused_torch_")][0]()
