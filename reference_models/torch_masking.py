"""Any padding mask in PyTorch: recurrent layers know only padding at the end of a row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


class Steps:
    """Where the valid steps of ``ids`` [batch, steps] lie; id 0 marks a padded step.

    ``ids`` are the same rows with their valid steps first, ``counts`` [batch] how many there are.
    """

    def __init__(self, ids: Tensor) -> None:
        self.valid = ids != 0
        seen = self.valid.to(torch.int64).cumsum(1)
        step = torch.arange(ids.shape[1], device=ids.device)
        order = torch.where(self.valid, step, step + ids.shape[1]).argsort(1)
        self.ids = ids.gather(1, order)
        self.counts = seen[:, -1]
        self.any = (self.counts > 0)[:, None]
        self._place = (seen - 1).clamp(min=0)

    def packed(self, x: Tensor) -> PackedSequence:
        """``x`` [batch, steps, features] of the reordered rows; an empty row counts as one step."""
        counts = self.counts.clamp(min=1)
        return pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)

    def spread(self, outputs: Tensor) -> Tensor:
        """Outputs of the reordered rows back in place, zero at padded steps.

        ``outputs`` [batch, at least the largest count, features]; the result [batch, steps,
        features].
        """
        index = self._place[:, :, None].expand(-1, -1, outputs.shape[2])
        return torch.where(self.valid[:, :, None], outputs.gather(1, index), 0.0)

    def last(self, outputs: Tensor) -> Tensor:
        """The output of each row's last valid step [batch, features]; zero where there is none."""
        index = self._place[:, -1:, None].expand(-1, -1, outputs.shape[2])
        return torch.where(self.any, outputs.gather(1, index)[:, 0], 0.0)
