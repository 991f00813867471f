"""A user's PyTorch model computed in float64, whatever its own code asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from harness.frameworks.float32_limits import limits_of_float32

_WIDER = {torch.float32: torch.float64, torch.complex64: torch.complex128}


def _wider(value: Any, tensors: bool) -> Any:
    if tensors and isinstance(value, Tensor):
        return value.to(_WIDER[value.dtype]) if value.dtype in _WIDER else value
    return _WIDER.get(value, value) if isinstance(value, torch.dtype) else value


def _called(func: Any, args: Any, kwargs: Mapping[str, Any] | None, writes: bool) -> Any:
    wider = partial(_wider, tensors=not writes)
    return func(*pytree.tree_map(wider, args), **pytree.tree_map(wider, dict(kwargs or {})))


class EveryOperator(TorchDispatchMode):  # type: ignore[misc]
    """Replaces float32 by float64 in every operator that a model, a trace or a script calls.

    So are tensors that no parameter or buffer holds, such as those in an attribute or a list.
    """

    supports_higher_order_operators = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if isinstance(func, torch._ops.HigherOrderOperator):
            args, kwargs = pytree.tree_map(self._inside, (args, dict(kwargs or {})))
        writes = getattr(getattr(func, "_schema", None), "is_mutable", False)
        return _called(func, args, kwargs, writes)

    def _inside(self, value: Any) -> Any:
        """Return a branch or a body of control flow as one that runs under this mode, too."""
        if not callable(value) or isinstance(value, Tensor):
            return value

        def body(*args: Any) -> Any:
            with self:
                return value(*args)

        return body


class OwnCalls(TorchFunctionMode):  # type: ignore[misc]
    """Replaces float32 by float64 in every call that a module's own Python code makes."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        reads = name.startswith("__") and name not in ("__setitem__", "__set__")
        writes = not reads and (name.endswith("_") or "out" in (kwargs or {}))
        return _called(Tensor.double if func is Tensor.float else func, args, kwargs, writes)


@contextmanager
def _epsilon_of_float32() -> Iterator[None]:
    """Let RMS norms without an epsilon have float32's, which each takes from its input's dtype."""
    norm = torch.rms_norm

    def with_epsilon(value: Tensor, shape: Any, weight: Any = None, eps: Any = None) -> Any:
        least = torch.finfo(torch.float32).eps
        return norm(value, shape, weight, least if eps is None else eps)

    torch.rms_norm = with_epsilon
    try:
        yield
    finally:
        torch.rms_norm = norm


Mode = type[EveryOperator] | type[OwnCalls]


@contextmanager
def precision(mode: Mode | None) -> Iterator[None]:
    """Compute in float64 under a ``mode``, whatever the model's own code asks for.

    The limits that it reads are those of float32. Nothing changes where ``mode`` is None.
    """
    if mode is None:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with limits_of_float32(torch), _epsilon_of_float32(), mode():
            yield
    finally:
        torch.set_default_dtype(before)
