"""The names and axes of a user model's outputs, inferred from two runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import chain, count

from harness.core.errors import UsageError
from harness.core.schema import (
    BATCH,
    Array,
    Arrays,
    Axis,
    Case,
    ModelSpec,
    TensorSpec,
    case_text,
    lengths_text,
)

Outputs = list[tuple[str, Array]]
Sizes = tuple[int, int]


def outputs(
    first: tuple[Case, Outputs],
    second: tuple[Case, Outputs],
    names: Sequence[str],
    inputs: Collection[str],
) -> tuple[TensorSpec, ...]:
    """Return every output, from the runs of two cases whose sizes differ.

    It has the name in ``names``, else the model's own. UsageError where an output's name is not
    unique, or its rank or dtype is another at the second case.
    """
    (case, values), (other_case, other_values) = first, second
    if not values:
        raise UsageError("the model gives no output")
    if len(values) != len(other_values):
        raise UsageError(f"{len(values)} outputs at one size, {len(other_values)} at another")
    unique = _names([name for name, _ in values], names)
    if shared := [n for n in unique if n in inputs or unique.count(n) > 1 or not n]:
        raise UsageError(
            f"output {shared[0]!r} has the name of another output or of an input; give each a name"
            " of its own: --outputs NAME,NAME"
        )
    axis_of: dict[Sizes, Axis] = {(case.batch, other_case.batch): BATCH} if case.batch > 1 else {}
    axis_of |= {(n, other_case.lengths[axis]): axis for axis, n in case.lengths.items()}
    used = {BATCH, *case.lengths, *unique}
    tensors = []
    for name, (_, a), (_, b) in zip(unique, values, other_values, strict=True):
        if a.ndim != b.ndim or a.dtype != b.dtype:
            raise UsageError(
                f"output {name!r} is {a.dtype} of rank {a.ndim} at {case_text(case)},"
                f" and {b.dtype} of rank {b.ndim} at {case_text(other_case)}; give it the same axes"
                " at every size, as by naming the axis of a squeeze"
            )
        if a.dtype.kind == "c":
            raise UsageError(
                f"output {name!r} is {a.dtype}, which no runtime gives; return its real and its"
                " imaginary part, as by torch.view_as_real"
            )
        for sizes in zip(a.shape, b.shape, strict=True):
            if sizes not in axis_of:
                axis_of[sizes] = sizes[0] if sizes[0] == sizes[1] else _free(name, used)
        axes = tuple(axis_of[sizes] for sizes in zip(a.shape, b.shape, strict=True))
        tensors.append(TensorSpec(name, str(a.dtype), axes))
    return tuple(tensors)


def named(spec: ModelSpec, values: Outputs) -> Arrays:
    """Return the outputs by the specification's names; UsageError where their number changes."""
    if len(values) != len(spec.outputs):
        raise UsageError(
            f"the model gives {len(values)} outputs at one size, {len(spec.outputs)} at another"
        )
    return {t.name: value for t, (_, value) in zip(spec.outputs, values, strict=True)}


def sized(spec: ModelSpec, case: Case, outputs: Arrays) -> Case:
    """Return the case with the sizes of axes that only outputs have.

    UsageError where an output's shape is not what its axes say at this case.
    """
    sizes = {BATCH: case.batch, **case.lengths}
    for tensor in spec.outputs:
        shape = outputs[tensor.name].shape
        for axis, size in zip(tensor.axes, shape, strict=False):
            if isinstance(axis, str):
                sizes.setdefault(axis, size)
        if list(shape) != [sizes[axis] if isinstance(axis, str) else axis for axis in tensor.axes]:
            axes = ", ".join(map(str, tensor.axes))
            raise UsageError(
                f"{spec.name}: output {tensor.name!r} is {list(shape)} at"
                f" {lengths_text(case.lengths)}, batch={case.batch}, where it is [{axes}] at other"
                " sizes; give it the same axes at all of them, as by naming the axis of a squeeze,"
                " or describe the sizes that it is for, as in 'time: 2..512'"
            )
    lengths = {axis: sizes[axis] for axis in spec.axes}
    return replace(case, lengths=lengths)


def _names(own: list[str], names: Sequence[str]) -> list[str]:
    if names and len(names) != len(own):
        raise UsageError(f"{len(names)} outputs are named; the model gives {len(own)}")
    if names:
        return list(names)
    if all(own) and len(set(own)) == len(own):
        return own
    return ["output"] if len(own) == 1 else [f"output_{n}" for n in range(len(own))]


def _free(output: str, used: set[str]) -> str:
    """Return, and add to ``used``, a name for an axis whose size follows from other axes."""
    stem = re.sub(r"\W+", "_", output).strip("_") or "output"
    numbered = (f"{stem}_steps_{n}" for n in count(2))
    name = next(n for n in chain([f"{stem}_steps"], numbered) if n not in used)
    used.add(name)
    return name
