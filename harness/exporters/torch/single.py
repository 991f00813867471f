"""A model whose branches go another way at size 1, where both ways come to the same.

Attention in packages asks whether there is more than one step, and then adds a mask that one step
does not need. The way of longer sizes is taken where, at size 1, it gives what the model gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from harness.core.errors import ExportError
from harness.core.schema import BATCH, Array, Arrays, ModelSpec
from harness.exporters.torch.tracing import Interface, arguments, trace
from harness.exporters.torch.weights import copied
from harness.graphs.example import sizes_of

NEAR = 1e-5
"""The part of an output's scale that both ways may differ by."""


def branched(model: nn.Module, spec: ModelSpec, example: Arrays) -> torch.export.ExportedProgram:
    """Return a program that goes the way of longer sizes, and gives what the model does at 1.

    ExportError where it gives something else, or PyTorch's own error where it cannot be run.
    """
    program = trace(model, spec, example, one_counts=False)
    run = program.module(check_guards=False)
    run._forward_pre_hooks.clear()  # which hold inputs to the range of sizes
    inputs = [t for t in spec.inputs if t.name in example]
    interface = Interface(copied(model), spec, example).eval()
    with torch.no_grad():
        for arrays in shortened(spec, example):
            given = arguments(inputs, arrays)
            if not all(map(_near, run(*given), interface(*given))):
                raise ExportError("both ways differ at size 1")
    return program


def shortened(spec: ModelSpec, example: Arrays) -> Iterator[Arrays]:
    """Yield an example's inputs with one row, with one step along each axis, and along all."""
    sizes = sizes_of(spec, example)
    rules = {axis for axis, rule in spec.rules.items() if rule.terms}
    free = [axis for axis in sizes if axis not in rules]
    for axes in (*([axis] for axis in free), free):
        small = spec.fitted({axis: 1 if axis in axes else sizes[axis] for axis in free})
        if all(small[axis] == 1 for axis in axes):
            yield {name: _cut(spec, name, value, small) for name, value in example.items()}


def _cut(spec: ModelSpec, name: str, value: Array, sizes: Mapping[str, int]) -> Array:
    """Return the first part of an input's value; a length is no longer than its axis."""
    tensor = next(t for t in spec.inputs if t.name == name)
    part = value[tuple(slice(n) for n in tensor.shape(sizes.get(BATCH, 1), sizes))]
    axis = spec.lengths.get(name)
    return part if axis is None else np.minimum(part, sizes[axis]).astype(part.dtype)


def _near(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    wide = one.double(), other.double()
    scale = float(wide[1].abs().amax()) if other.numel() else 0.0
    return bool(torch.allclose(*wide, rtol=0.0, atol=NEAR * scale, equal_nan=True))
