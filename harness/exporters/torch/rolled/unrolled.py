"""A trace in which a Python loop over a dynamic length runs at the example's, and stays dynamic.

Sizes remain symbols: ``range(size)`` counts to the example's size, a tensor is split into as many
steps, and a list of as many tensors is joined to a tensor whose size is the symbol again.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import mode
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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
    """A size that a loop goes to: the symbol, or a number, its value and the steps in the trace."""

    size: Any
    steps: int
    count: int

    @property
    def fixed(self) -> bool:
        """Whether the loop has as many steps at every length."""
        return isinstance(self.size, int)


def _is_free(size: Any) -> bool:
    """Return whether a size is a symbol with a value in the trace."""
    return isinstance(size, torch.SymInt) and not (
        size.node.hint is None or size.node.expr.is_number
    )


def _hint(size: torch.SymInt) -> int:
    return builtins.int(size.node.hint)


class _Whole(type):
    """Makes a class ``int`` but for a size, which it leaves a symbol."""

    def __call__(cls, *values: Any, **options: Any) -> Any:
        value = values[0] if len(values) == 1 else None
        if isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex()):
            value = value.item()
        if isinstance(value, torch.SymInt):
            return value
        return builtins.int(*values, **options)

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, builtins.int)


class _Int(metaclass=_Whole):
    """``int`` of a traced module."""


class _Within(TorchFunctionMode):  # type: ignore[misc]
    """The end of a slice that depends on data is one of the places of its tensor.

    With ``Tensor.__getitem__`` replaced instead, C would take tensors for sequences ever after.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is Tensor.__getitem__:
            _end_within(*args)
        return function(*args, **(kwargs or {}))


def _end_within(tensor: Tensor, key: Any) -> None:
    keys = key if isinstance(key, tuple) else (key,)
    if all(isinstance(k, slice | builtins.int) for k in keys):
        for size, part in zip(tensor.shape, keys, strict=False):
            end = part.stop if isinstance(part, slice) else None
            if isinstance(end, torch.SymInt) and end.node.hint is None:
                torch._check(end >= 0)
                torch._check(end <= size)


@contextmanager
def unrolled(model: nn.Module) -> Iterator[list[Looped]]:
    """Unroll the loops of a trace in this block; yield a list to which their sizes are added."""
    loops: list[Looped] = []

    def counted(*limits: Any) -> range:
        """Return a range whose limits are numbers; it is noted as a loop."""
        free = [limit for limit in limits if _is_free(limit)]
        start, end, step = ((0, *limits, 1) if len(limits) == 1 else (*limits, 1))[:3]
        if step in (1, -1) and _is_free(count := (end - start) * step):
            free.append(count)
        whole = range(*(_hint(n) if _is_free(n) else builtins.int(n) for n in limits))
        for size in free or [len(whole)]:
            loops.append(Looped(size, _hint(size) if free else len(whole), len(whole)))
        return whole

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
        free = [loop for loop in loops if not loop.fixed]
        if not isinstance(parts, list | tuple) or not free:
            return None
        near = min(free, key=lambda loop: abs(loop.steps - len(parts)))
        slack = min(SLACK, near.steps // 3)
        others = {loop.count for loop in loops if loop.fixed} | {*range(-slack, slack + 1)}
        if len(parts) - near.steps not in others or not all(isinstance(p, Tensor) for p in parts):
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

    @functools.wraps(model.forward)
    def forward(*inputs: Any) -> Any:
        with _Within():
            return whole(*inputs)

    whole = model.forward
    unbind, split = Tensor.unbind, Tensor.split
    own = {
        module.__dict__.get("__name__"): module
        for kind in map(type, model.modules())
        if (module := sys.modules.get(kind.__module__)) and not kind.__module__.startswith("torch.")
        if kind.__module__ != __name__
    }
    own_builtins = {"range": counted, "len": length, "int": _Int}
    with ExitStack() as patches:
        for module in own.values():
            patches.enter_context(patch.dict(module.__dict__, own_builtins))
        for place, name, value in (
            (model, "forward", forward),
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
