"""The assumption of a trace that no dynamic axis has size 1.

``torch.export`` decides comparisons with 1 without recording them: a model that treats a single
row or step differently would be exported without that case.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from harness.core.errors import ExportError

SMALLEST = 2
"""The least size of a dynamic axis of which nothing is described."""
_TORCH = str(Path(torch.__file__).parent)
_LOWER_BOUND = re.compile(r".* != 1|\(1 % .*\) != 0|\d+ <= \S+(?: and \S+ <= IntInfinity\(\))?")
_UPPER_BOUND = re.compile(r"^  (\w+) = Dim\('\w+', (?:min=\d+, )?max=(\d+)\)$", re.MULTILINE)
_GENERATED = "<string>"  # the guards that PyTorch compiles


class SizeOneError(ExportError):
    """A branch in a model goes another way where an axis has size 1."""


@contextmanager
def size_one_counts(counts: bool = True) -> Iterator[list[str]]:
    """Raise SizeOneError where code outside PyTorch branches on a condition that size 1 changes.

    Where it does not count, the way of longer sizes is taken. An axis that is described as longer
    never has that size.
    PyTorch's own branches on sizes choose between ways to the same values. Yield a list to which
    the conditions of all other branches are added.
    """
    decide = torch.SymBool.__bool__
    branches: list[str] = []

    def checked(condition: torch.SymBool) -> bool:
        expression = condition.node.expr
        decided: bool = decide(condition)
        if not sys._getframe(1).f_code.co_filename.startswith((_TORCH, _GENERATED)):
            branches.append(str(expression))
            for symbol in expression.free_symbols:
                if condition.node.shape_env.var_to_range[symbol].lower > SMALLEST:
                    continue
                if counts and _at_one(expression, symbol) not in (None, decided):
                    raise SizeOneError(
                        "a branch in forward goes another way at batch or length 1; do the same"
                        " at every size, or describe the axis as longer, as in 'time: 2..512'"
                    )
        return decided

    with patch.object(torch.SymBool, "__bool__", checked):
        yield branches


def _at_one(condition: Any, symbol: Any) -> bool | None:
    """Return what a condition is where a size is 1; None where that rests on others, or is none."""
    try:
        single = condition.subs(symbol, 1)
    except AssertionError:  # a size would be negative
        return None
    return bool(single) if single.is_Boolean and not single.free_symbols else None


def longest(error: Exception) -> dict[str, int]:
    """Return the largest size of each axis that a model takes, as a table of positions has one."""
    return {axis: int(size) for axis, size in _UPPER_BOUND.findall(str(error))}


def shortest_only(error: Exception) -> bool:
    """Return whether a trace failed only because sizes must not be 1, or must be at least some.

    Shortening a dynamic axis, as a strided convolution does, requires the first; a kernel wider
    than the input the second.
    """
    guards = re.findall(r"satisfy the generated guard (.*?)\.?$", str(error), re.MULTILINE)
    return bool(guards) and all(_LOWER_BOUND.fullmatch(guard) for guard in guards)
