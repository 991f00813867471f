"""A trace in which a Python loop over a dynamic length runs at the example's, and stays dynamic.

Sizes remain symbols: ``range(size)`` counts to the example's size, a tensor is split into as many
steps, and a list of as many tensors is joined to a tensor whose size is the symbol again.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import mode
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

SLACK = 3
"""By how many steps a loop, or a list, may be longer or shorter than the axis it goes over."""

_LIBRARY = torch.library.Library("harness_rolled", "DEF")
_LIBRARY.define("join(Tensor[] parts, SymInt size, int dim, bool stacked) -> Tensor")


def _joined(parts: Sequence[Tensor], size: Any, dim: int, stacked: bool) -> Tensor:
    return _STACK(parts, dim) if stacked else _CAT(parts, dim)


def _joined_shape(parts: Sequence[Tensor], size: Any, dim: int, stacked: bool) -> Tensor:
    shape = list(parts[0].shape)
    shape[dim : dim + (not stacked)] = [size]
    return parts[0].new_empty(shape)


_STACK, _CAT = torch.stack, torch.cat
_LIBRARY.impl("join", _joined, "CPU")
_LIBRARY.impl("join", _joined_shape, "Meta")
JOIN = torch.ops.harness_rolled.join.default


@dataclass(frozen=True)
class Looped:
    """A size that a loop goes to: the symbol, and its value in the trace."""

    size: Any
    steps: int


@contextmanager
def unrolled(model: nn.Module) -> Iterator[list[Looped]]:
    """Unroll the loops of a trace in this block; yield a list to which their sizes are added."""
    loops: list[Looped] = []

    def steps(size: Any) -> int:
        """Return a size as a number, which is noted as a loop's where it is a symbol."""
        if not isinstance(size, torch.SymInt):
            return int(size)
        if size.node.hint is None or size.node.expr.is_number:
            return builtins.int(size)
        loops.append(Looped(size, builtins.int(size.node.hint)))
        return loops[-1].steps

    def counted(*limits: Any) -> range:
        return range(*map(steps, limits))

    def length(value: Any) -> Any:
        return value.shape[0] if isinstance(value, Tensor) and value.dim() else builtins.len(value)

    def unbound(self: Tensor, dim: int = 0) -> Any:
        if isinstance(self.shape[dim], torch.SymInt):
            return tuple(self.select(dim, step) for step in counted(self.shape[dim]))
        return unbind(self, dim)

    def parted(self: Tensor, split_size: Any, dim: int = 0) -> Any:
        if isinstance(self.shape[dim], torch.SymInt) and split_size == 1:
            return tuple(self.narrow(dim, step, 1) for step in counted(self.shape[dim]))
        return split(self, split_size, dim)

    def join(parts: Any, dim: int, stacked: bool) -> Tensor | None:
        if not isinstance(parts, list | tuple) or not loops:
            return None
        near = min(loops, key=lambda loop: abs(loop.steps - len(parts)))
        if abs(near.steps - len(parts)) > SLACK or not all(isinstance(p, Tensor) for p in parts):
            return None
        if dim < 0:
            dim += parts[0].dim() + stacked
        more = near.size - near.steps
        if stacked:
            return JOIN(list(parts), len(parts) + more, dim, True)
        sizes = [part.shape[dim] for part in parts]
        return JOIN(list(parts), sum(sizes) + more * mode(map(int, sizes)), dim, False)

    def stack(tensors: Any, dim: int = 0, **options: Any) -> Any:
        whole = join(tensors, dim, True)
        return _STACK(tensors, dim, **options) if whole is None else whole

    def cat(tensors: Any, dim: int = 0, **options: Any) -> Any:
        whole = join(tensors, dim, False)
        return _CAT(tensors, dim, **options) if whole is None else whole

    unbind, split = Tensor.unbind, Tensor.split
    own = {
        module.__dict__.get("__name__"): module
        for kind in map(type, model.modules())
        if (module := sys.modules.get(kind.__module__)) and not kind.__module__.startswith("torch.")
        if kind.__module__ != __name__
    }
    with ExitStack() as patches:
        for module in own.values():
            patches.enter_context(patch.dict(module.__dict__, {"range": counted, "len": length}))
        for place, name, value in (
            (Tensor, "unbind", unbound),
            (Tensor, "__iter__", lambda self: iter(unbound(self))),
            (torch, "unbind", unbound),
            (Tensor, "split", parted),
            (torch, "split", parted),
            (torch, "stack", stack),
            (torch, "cat", cat),
        ):
            patches.enter_context(patch.object(place, name, value))
        yield loops
