"""What a trace has concluded of the sizes of dynamic axes, and where in the user's code."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple
from unittest.mock import patch

from torch import nn
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from harness.core import places
from harness.core.schema import BATCH, TensorSpec

_SIZES = range(2, 130)
_SOURCE = re.compile(r"L\['(\w+)'\](?:\[(\d+)\])?\.size\(\)\[(\d+)\]$")
_SUPPRESSED = "suppressed"


class Guard(NamedTuple):
    """A condition on the sizes of axes that a trace is true for."""

    condition: Any
    env: Any
    place: str
    modules: tuple[int, ...]
    """The modules at work, by ``id``, the innermost first."""


class Restriction(NamedTuple):
    """How an axis is not free."""

    axis: str
    words: str
    way: str
    guard: Guard


@contextmanager
def watched(guards: list[Guard]) -> Iterator[None]:
    """Fill a list with every condition that a trace in this block decides."""
    guards.clear()
    log = ShapeEnv._log_guard
    border = sys._getframe(2)

    def logged(self: ShapeEnv, prefix: str, condition: Any, *args: Any, **kwargs: Any) -> Any:
        if _SUPPRESSED not in prefix:
            frames = list(_frames(sys._getframe(1), border))
            place = places.of_frames((f.f_code.co_filename, f.f_lineno) for f in frames)
            guards.append(Guard(condition, self, place, _modules(frames)))
        return log(self, prefix, condition, *args, **kwargs)

    with patch.object(ShapeEnv, "_log_guard", logged):
        yield


def _frames(frame: FrameType | None, border: FrameType) -> Iterator[FrameType]:
    while frame is not None and frame is not border:
        yield frame
        frame = frame.f_back


def _modules(frames: Sequence[FrameType]) -> tuple[int, ...]:
    own = (frame.f_locals.get(name) for frame in frames for name in ("self", "module"))
    return tuple(dict.fromkeys(id(value) for value in own if isinstance(value, nn.Module)))


def restriction(
    guards: Sequence[Guard], inputs: Sequence[TensorSpec], blamed: Collection[str]
) -> Restriction | None:
    """Return the first way in which an axis is not free; of those that are ``blamed``, if any.

    A condition on one axis alone tells more than one on several, and to be long enough is least.
    """
    ordered = sorted(guards, key=lambda guard: len(guard.condition.free_symbols))
    for enough in (False, True):
        for guard in ordered:
            symbols = sorted(guard.condition.free_symbols, key=str)
            for symbol in symbols:
                axis = _axis(guard.env, symbol, inputs)
                if not axis or (blamed and axis not in blamed):
                    continue
                taken = _taken(guard, symbol)
                several = len(symbols) > 1
                found = _long_enough(taken, axis) if enough else _restricted(taken, axis, several)
                if found:
                    return Restriction(axis, *found, guard)
    return None


def is_free(guards: Sequence[Guard], inputs: Sequence[TensorSpec]) -> bool:
    """Return whether every condition holds at all sizes but the first ones and one other.

    That one is another number of the model, which PyTorch compares a size with.
    """
    for guard in guards:
        for symbol in guard.condition.free_symbols:
            if _axis(guard.env, symbol, inputs):
                taken = _taken(guard, symbol)
                most = len(range(taken[0], _SIZES.stop)) if taken else 0
                if len(taken) < most - 1 or len(taken) < len(_SIZES) // 2:
                    return False
    return True


def _taken(guard: Guard, symbol: Any) -> list[int]:
    """Return the sizes for which a condition holds, the other sizes being the example's."""
    values = getattr(guard.env, "backed_var_to_val", {})
    others = {s: values[s] for s in guard.condition.free_symbols if s in values and s != symbol}
    condition = guard.condition.xreplace(others)
    return [size for size in _SIZES if _holds(condition, symbol, size)]


def _holds(condition: Any, symbol: Any, size: int) -> bool:
    try:
        return bool(condition.subs(symbol, size))
    except (TypeError, ValueError, ZeroDivisionError, AssertionError):
        return False


def _long_enough(taken: list[int], axis: str) -> tuple[str, str] | None:
    """Return that an axis has to have more than the least steps; None where it need not."""
    first = taken[0] if taken else 0
    if first <= _SIZES.start or taken != list(range(first, _SIZES.stop)):
        return None
    words = f"axis {axis!r} has to be at least {first}"
    return words, f"describe the sizes that it is for: --input '{axis}: {first}..N'"


def _restricted(taken: list[int], axis: str, others: bool) -> tuple[str, str] | None:
    """Return how an axis that has only some sizes is restricted, and the way on; None if free."""
    first = taken[0] if taken else 0
    if first and taken == list(range(first, _SIZES.stop)):
        return None
    if len(taken) < 2 and not others:
        return NUMBER.format(axis=axis), WAY_OF_NUMBER
    step = taken[1] - first if len(taken) > 1 else 0
    if step > 1 and first == step and taken == list(range(step, _SIZES.stop, step)):
        words = f"axis {axis!r} has to be a multiple of {step}"
        return words, f"describe it: --input '{axis}: multiple of {step}'"
    words = f"what is done depends on the size of axis {axis!r}" + " and others" * others
    if axis == BATCH or others:
        return words, WAY_OF_BRANCH
    bounded = taken == list(range(first, taken[-1] + 1))
    rule = f"{first}..{taken[-1]}" if bounded else "multiple of N"
    return words, f"{WAY_OF_BRANCH}, or describe those that it is for: --input '{axis}: {rule}'"


NUMBER = "the size of axis {axis!r} becomes a plain Python number"
WAY_OF_NUMBER = (
    "keep it a size (x.shape[1], torch.arange), use a recurrent layer or torch.scan for a loop, or"
    " give torch.jit.script of the model, which keeps loops"
)
WAY_OF_BRANCH = "do the same at every size"


def _axis(env: Any, symbol: Any, inputs: Sequence[TensorSpec]) -> str:
    """Return the name of the axis whose size a symbol is; empty where that is not known."""
    for source in getattr(env, "var_to_sources", {}).get(symbol, ()):
        name = source.name if isinstance(source.name, str) else source.name()
        if match := _SOURCE.match(name):
            by_name = {tensor.name: tensor for tensor in inputs}
            tensor = inputs[int(match[2])] if match[2] else by_name.get(match[1])
            if tensor is not None and int(match[3]) < len(tensor.axes):
                return str(tensor.axes[int(match[3])])
    return ""
