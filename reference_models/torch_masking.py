"""Any padding mask in PyTorch, whose recurrent layers allow padding only at the end of a row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


class Steps:
    """The places of the valid steps of ``ids`` [batch, steps]; id 0 marks a padded step.

    ``ids`` are the same rows with their valid steps first, ``counts`` [batch] their numbers.
    """

    def __init__(self, ids: Tensor) -> None:
        valid = ids != 0
        number = valid.to(torch.int64).cumsum(1)
        rows, steps = ids.shape
        front = torch.where(valid, number - 1, steps)
        self.ids = ids.new_zeros(rows, steps + 1).scatter(1, front, ids)[:, :steps]
        self.counts = number[:, -1]
        self.any = (self.counts > 0)[:, None]
        self._place = torch.where(valid, number, 0)

    def packed(self, x: Tensor) -> PackedSequence:
        """Pack ``x`` [batch, steps, features] of the reordered rows, an empty row as one step."""
        counts = self.counts.clamp(min=1)
        return pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)

    def spread(self, outputs: Tensor) -> Tensor:
        """Return the outputs of the reordered rows in place, zero at padded steps.

        ``outputs`` [batch, at least the largest count, features]; the result [batch, steps,
        features].
        """
        return _read(outputs, self._place)

    def last(self, outputs: Tensor) -> Tensor:
        """Return the output of each row's last valid step [batch, features]; zero without one."""
        return _read(outputs, self.counts)


def _read(outputs: Tensor, place: Tensor) -> Tensor:
    """Return each row's outputs at ``place`` [batch] or [batch, places], from 1; 0 reads zero.

    ``outputs`` [batch, steps, features]; the result has the shape of ``place`` and the features.
    """
    frames = F.pad(outputs, (0, 0, 1, 0))
    start = torch.arange(frames.shape[0], device=frames.device) * frames.shape[1]
    start = start[:, None] if place.dim() == 2 else start
    return F.embedding(start + place, frames.flatten(0, 1))
