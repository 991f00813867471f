"""What a trace takes for granted of every dynamic axis: that its size is not 1.

``torch.export`` decides comparisons with 1 without recording them, so that a model which treats a
single row or step apart would be exported without that case.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch

from harness.core.errors import ExportError

_TORCH = str(Path(torch.__file__).parent)
_LOWER_BOUND = re.compile(r".* != 1|\d+ <= \S+(?: and \S+ <= IntInfinity\(\))?")
_GENERATED = "<string>"  # the guards that PyTorch compiles


@contextmanager
def size_one_counts() -> Iterator[list[str]]:
    """Raise ExportError where code outside PyTorch branches on what size 1 would answer otherwise.

    PyTorch's own branches on sizes choose between ways to the same values. Yields a list that
    fills with the conditions of all other branches.
    """
    decide = torch.SymBool.__bool__
    branches: list[str] = []

    def checked(condition: torch.SymBool) -> bool:
        expression = condition.node.expr
        decided: bool = decide(condition)
        if not sys._getframe(1).f_code.co_filename.startswith((_TORCH, _GENERATED)):
            branches.append(str(expression))
            for symbol in expression.free_symbols:
                single = expression.subs(symbol, 1)
                if single.is_Boolean and not single.free_symbols and bool(single) != decided:
                    raise ExportError("a branch in forward goes another way at batch or length 1")
        return decided

    with patch.object(torch.SymBool, "__bool__", checked):
        yield branches


def shortest_only(error: Exception) -> bool:
    """Whether a trace failed only because PyTorch needs sizes not to be 1, or to be at least some.

    A kernel that is wider than the input asks for the second; whoever shortens a dynamic axis, as
    a strided convolution does, for the first.
    """
    guards = re.findall(r"satisfy the generated guard (.*?)\.?$", str(error), re.MULTILINE)
    return bool(guards) and all(_LOWER_BOUND.fullmatch(guard) for guard in guards)
