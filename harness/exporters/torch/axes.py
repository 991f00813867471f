"""The dynamic axes of a model's inputs, as ``torch.export`` is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from harness.core.axis_rules import AxisRule
from harness.core.schema import Arrays, TensorSpec


def dynamic(
    inputs: Sequence[TensorSpec],
    example: Arrays,
    most: Mapping[str, int],
    rules: Mapping[str, AxisRule],
) -> tuple[dict[int, Any], ...]:
    """Return the dynamic axes of each input, at least as in ``example`` and at ``most`` so long."""
    least: dict[str, int] = {}
    for tensor in inputs:
        if tensor.name in example:
            least |= zip(map(str, tensor.axes), example[tensor.name].shape, strict=True)
    sizes = {
        axis: torch.export.Dim(axis, min=least.get(axis), max=most.get(axis))
        for tensor in inputs
        for axis in tensor.axes
        if isinstance(axis, str)
    }
    sizes |= _bound(rules, sizes, least)
    return tuple(
        {place: sizes[a] for place, a in enumerate(t.axes) if isinstance(a, str)} for t in inputs
    )


def texts_of(
    shape: Sequence[Any], sizes: Mapping[str, Sequence[Any]], rules: Mapping[str, AxisRule]
) -> list[str]:
    """Return the sizes of a shape as text: as that of an axis which they always are.

    ``sizes`` has those of each axis, one for each input that has it, of which the first is told.
    """
    free = {a: [s for s in own if isinstance(s, torch.SymInt)] for a, own in sizes.items()}
    first = {axis: own[0].node.expr for axis, own in free.items() if own}
    same = {s.node.expr: first[axis] for axis, own in free.items() for s in own}
    known = [(expression, str(expression)) for expression in first.values()]
    for axis, rule in rules.items():
        if rule.terms and {axis, *rule.terms} <= {*first}:
            total = sum(n * first[term] for term, n in rule.terms.items()) + rule.plus
            known.append((total // rule.divisor, str(first[axis])))
    return [_text(size, same, known) for size in shape]


def _text(size: Any, same: Mapping[Any, Any], known: Sequence[tuple[Any, str]]) -> str:
    if not isinstance(size, torch.SymInt):
        return str(size)
    expression = size.node.expr.xreplace(same)
    return next((text for other, text in known if _is_always(expression, other)), str(expression))


def _is_always(one: Any, other: Any) -> bool:
    """Return whether two expressions have the same value at every size that is tried."""
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    tried = ({s: n * (7 * i + 3) % 61 + 2 for i, s in enumerate(symbols)} for n in range(1, 61))
    try:
        return one == other or all(one.subs(sizes) == other.subs(sizes) for sizes in tried)
    except (AssertionError, ZeroDivisionError):  # a size would be negative, or by none
        return False


def _bound(
    rules: Mapping[str, AxisRule], free: Mapping[str, Any], least: Mapping[str, int]
) -> dict[str, Any]:
    """Return the sizes of the axes that are multiples, bounded, or follow from others.

    PyTorch finds out itself how an axis follows from two others.
    """
    sizes: dict[str, Any] = {}
    for axis, rule in rules.items():
        low, high = rule.bounds
        low = max(low, least.get(axis, low)) // rule.multiple
        if axis in free and not rule.terms and rule.multiple > 1:
            high = None if high is None else high // rule.multiple
            sizes[axis] = rule.multiple * torch.export.Dim(f"{axis}_part", min=low, max=high)
        elif axis in free and not rule.terms:
            sizes[axis] = torch.export.Dim(axis, min=low if low > 1 else None, max=high)
    every = {**free, **sizes}
    sums = {axis: rule for axis, rule in rules.items() if rule.terms and axis in free}
    if any(
        len(r.terms) > 1 or {*r.terms} & {*rules} or not {*r.terms} <= {*free}
        for r in sums.values()
    ):
        return dict.fromkeys(free, torch.export.Dim.DYNAMIC)
    for axis, rule in sums.items():
        ((term, factor),) = rule.terms.items()
        size = every[term] if factor == 1 else factor * every[term]
        sizes[axis] = size + rule.plus if rule.plus else size
    return sizes
