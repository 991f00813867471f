"""Packed sequences as padded tensors and lengths, for the time of one trace.

PyTorch sorts the rows of a packed sequence and joins their steps for its kernels. Here
``pack_padded_sequence`` keeps the padded rows and ``pad_packed_sequence`` fills the steps after
each row's length, so that neither sorts, nor needs the lengths as Python numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn.utils import rnn

from harness.core.errors import ExportError


@dataclass(frozen=True)
class Rows:
    """Padded rows ``values`` [steps, batch, ...] with ``lengths`` [batch], int64, at least 1."""

    values: Tensor
    lengths: Tensor

    def like(self, values: Tensor) -> Rows:
        return replace(self, values=values)

    def valid(self, steps: int) -> Tensor:
        """Return which steps are within their row's length, [steps, batch] bool."""
        return torch.arange(steps)[:, None] < self.lengths

    def reverse(self, values: Tensor) -> Tensor:
        """Return ``values`` [steps, batch, ...] with each row's valid steps reversed."""
        reversed_: Tensor = torch.onnx.ops.symbolic(
            "::ReverseSequence",
            (values, self.lengths),
            {"batch_axis": 1, "time_axis": 0},
            dtype=values.dtype,
            shape=values.shape,
        )
        return reversed_

    def last(self, values: Tensor) -> Tensor:
        """Return ``values`` [steps, batch, ...] at each row's last valid step, [batch, ...]."""
        batch = values.shape[1]
        return F.embedding((self.lengths - 1) * batch + torch.arange(batch), values.flatten(0, 1))


class Packed:
    """The ``data`` of a PackedSequence, which only a recurrent layer may use."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __getattr__(self, name: str) -> Any:
        raise ExportError(_DATA)

    @classmethod
    def __torch_function__(cls, *args: Any, **kwargs: Any) -> Any:
        raise ExportError(_DATA)


_DATA = (
    "the data of a PackedSequence is used other than by a recurrent layer or pad_packed_sequence"
)


def packed(rows: Rows) -> rnn.PackedSequence:
    """Return a PackedSequence of ``rows``; its other fields are empty."""
    return tuple.__new__(rnn.PackedSequence, (Packed(rows), None, None, None))


def rows_of(sequence: rnn.PackedSequence) -> Rows:
    """Return the rows of a PackedSequence; ExportError for one that ``packed`` did not make."""
    data = sequence[0]
    if not isinstance(data, Packed):
        raise ExportError("a PackedSequence was not made by pack_padded_sequence")
    return data.rows


def pack(values: Tensor, lengths: Any, batch_first: bool) -> rnn.PackedSequence:
    lengths = torch.as_tensor(lengths).to(torch.int64)
    values = values.transpose(0, 1) if batch_first else values
    torch._check(lengths.dim() == 1 and lengths.shape[0] == values.shape[1])
    return packed(Rows(values, lengths))


def pad(
    sequence: rnn.PackedSequence, batch_first: bool, filler: float, total_length: int | None
) -> tuple[Tensor, Tensor]:
    rows = rows_of(sequence)
    values, steps = rows.values, rows.values.shape[0]
    if total_length is None:
        longest = rows.lengths.max()
        total_length = longest if torch.jit.is_tracing() else longest.item()
        torch._check(total_length >= 0)
        torch._check(total_length <= steps)
        values = values[:total_length]
    elif torch.jit.is_tracing() or not statically_known_true(total_length == steps):
        values = values.index_select(0, torch.arange(total_length).clamp(max=steps - 1))
    valid = rows.valid(total_length)
    values = torch.where(valid[(..., *(None,) * (values.dim() - 2))], values, filler)
    return values.transpose(0, 1) if batch_first else values, rows.lengths


def _pack(input, lengths, batch_first=False, enforce_sorted=True):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    from harness.exporters.torch import packed as torch_packed

    return torch_packed.pack(input, lengths, batch_first)


def _pad(sequence, batch_first=False, padding_value=0.0, total_length=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    from harness.exporters.torch import packed as torch_packed

    return torch_packed.pad(sequence, batch_first, padding_value, total_length)


@contextmanager
def padded_packing() -> Iterator[None]:
    """Replace PyTorch's packing by this module's, also where a model imported it by name."""
    replaced = ((rnn.pack_padded_sequence, _pack), (rnn.pad_packed_sequence, _pad))
    before = [function.__code__ for function, _ in replaced]
    try:
        for function, substitute in replaced:
            function.__code__ = substitute.__code__
        yield
    finally:
        for (function, _), code in zip(replaced, before, strict=True):
            function.__code__ = code
