"""What a model of one's own gives: its outputs' names and axes, told from two runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from harness.core.errors import UsageError
from harness.core.schema import (
    BATCH,
    Array,
    Arrays,
    Axis,
    Case,
    ModelSpec,
    TensorSpec,
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
    """Every output, from what the model gave at two cases whose sizes differ.

    It has the name in ``names``, else the model's own. UsageError where an output has no name of
    its own, or another rank or dtype at the second case.
    """
    (case, here), (other, there) = first, second
    if not here:
        raise UsageError("the model gives no output")
    if len(here) != len(there):
        raise UsageError(f"{len(here)} outputs at one size, {len(there)} at another")
    chosen = _names([name for name, _ in here], names)
    if odd := [n for n in chosen if n in inputs or chosen.count(n) > 1 or not n]:
        raise UsageError(
            f"output {odd[0]!r} has the name of another output or of an input; give each a name of"
            " its own: --outputs NAME,NAME"
        )
    derived: dict[Sizes, str] = {}
    taken = {BATCH, *case.lengths, *chosen}
    result = []
    for name, (_, a), (_, b) in zip(chosen, here, there, strict=True):
        if a.ndim != b.ndim or a.dtype != b.dtype:
            raise UsageError(f"output {name} has another rank or dtype at another size")
        axes = [
            _axis(name, sizes, case, other, derived, taken)
            for sizes in zip(a.shape, b.shape, strict=True)
        ]
        result.append(TensorSpec(name, str(a.dtype), tuple(axes)))
    return tuple(result)


def named(spec: ModelSpec, found: Outputs) -> Arrays:
    """The outputs by the specification's names; UsageError where their number changes."""
    if len(found) != len(spec.outputs):
        raise UsageError(
            f"the model gives {len(found)} outputs at one size, {len(spec.outputs)} at another"
        )
    return {t.name: value for t, (_, value) in zip(spec.outputs, found, strict=True)}


def sized(spec: ModelSpec, case: Case, found: Arrays) -> Case:
    """The case with the sizes of axes that only outputs have.

    UsageError where an output's shape is not what its axes say at this case.
    """
    sizes = {BATCH: case.batch, **case.lengths}
    for tensor in spec.outputs:
        shape = found[tensor.name].shape
        for axis, size in zip(tensor.axes, shape, strict=False):
            if isinstance(axis, str):
                sizes.setdefault(axis, size)
        told = [sizes[axis] if isinstance(axis, str) else axis for axis in tensor.axes]
        if list(shape) != told:
            axes = ", ".join(map(str, tensor.axes))
            raise UsageError(
                f"output {tensor.name} is {list(shape)} at {lengths_text(case.lengths)},"
                f" batch={case.batch}; at other sizes it was [{axes}]"
            )
    lengths = {axis: sizes[axis] for axis in spec.axes}
    return replace(case, lengths=lengths)


def _names(own: list[str], wanted: Sequence[str]) -> list[str]:
    if wanted and len(wanted) != len(own):
        raise UsageError(f"{len(wanted)} outputs are named; the model gives {len(own)}")
    if wanted:
        return list(wanted)
    if all(own) and len(set(own)) == len(own):
        return own
    return ["output"] if len(own) == 1 else [f"output_{n}" for n in range(len(own))]


def _axis(
    output: str,
    found: Sizes,
    first: Case,
    second: Case,
    derived: dict[Sizes, str],
    taken: set[str],
) -> Axis:
    """The name of the axis that has these sizes; a fixed size where they are the same.

    Sizes that follow from others, as a convolution's do, get a name of their own.
    """
    many = first.batch > 1
    known = {(first.batch, second.batch): BATCH} if many else {}
    known |= {(n, second.lengths[axis]): axis for axis, n in first.lengths.items()}
    if found in known:
        return known[found]
    if found[0] == found[1]:
        return found[0]
    if found not in derived:
        free = f"{output}_steps"
        number = 2
        while free in taken:
            free, number = f"{output}_steps_{number}", number + 1
        derived[found] = free
        taken.add(free)
    return derived[found]
