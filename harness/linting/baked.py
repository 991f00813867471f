"""A batch or a length of the example that became a constant of the graph.

Where the sizes of the example are known, they coincide with no other size of the model: a constant
equal to one of them, where a shape is made, is proof. Where they are not, only what fits a single
size of an axis that the inputs declare dynamic is reported, as a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from onnx import ModelProto, NodeProto, TensorProto

from harness.graphs.attributes import attribute
from harness.graphs.inference import SMALL, Dims, Facts, Scope, dims_of, gather, is_batch
from harness.graphs.light import light
from harness.graphs.recurrent import SEQUENCE_LENS, is_recurrent
from harness.graphs.walk import input_at
from harness.linting.finding import Finding, Severity
from harness.linting.shapes import broadcast, fits_any_size, initial_states, repeated_cells

FROM_SHAPE = "take it from Shape of the tensor when it runs"
SHAPE_INPUT = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0, "Tile": 1, "Range": 1}
DECLARE = "declare the axis by name and export with dynamic shapes"


@dataclass(frozen=True)
class _Baked:
    """A suspect: the axis whose size was baked in, and whether the example proves it."""

    axis: str
    proven: bool
    place: str
    problem: str
    remedy: str = FROM_SHAPE


def baked_length(facts: Facts) -> Iterator[Finding]:
    """A sequence length is a constant of the graph: other lengths fail or come out wrong."""
    yield from _findings(facts, "baked-length", batch=False)


def baked_batch(facts: Facts) -> Iterator[Finding]:
    """A batch size is a constant of the graph: other batches fail or come out wrong."""
    yield from _findings(facts, "baked-batch", batch=True)


def coincidences(model: ModelProto, example: Mapping[str, int]) -> bool:
    """Return whether a constant of a graph is one of the sizes that it was exported with."""
    facts = gather(_light(model), example)
    found = (*baked_length(facts), *baked_batch(facts))
    return any(finding.severity == "error" for finding in found)


def _light(model: ModelProto) -> ModelProto:
    """Return a copy without the data of large initializers, as of a file that has it elsewhere."""
    copy = light(model)
    for tensor in copy.graph.initializer:
        if prod(tensor.dims) > SMALL:
            for data in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
                tensor.ClearField(data)
            tensor.data_location = TensorProto.EXTERNAL
    return copy


def _findings(facts: Facts, rule: str, batch: bool) -> Iterator[Finding]:
    sizes = {size: axis for axis, size in facts.example.items() if size > 1}
    suspects = [*_in_nodes(facts, sizes), *_declared(facts, sizes)]
    causes = {suspect.axis for suspect in suspects if suspect.proven}
    suspects += [suspect for suspect in _always(facts, sizes) if suspect.axis not in causes]
    reported: set[str] = set()
    for suspect in suspects:
        if is_batch(suspect.axis) is batch and suspect.place not in reported:
            reported.add(suspect.place)
            severity: Severity = "error" if suspect.proven else "warning"
            yield Finding(rule, severity, suspect.place, suspect.problem, suspect.remedy)


def _declared(facts: Facts, sizes: dict[int, str]) -> Iterator[_Baked]:
    """Yield inputs and outputs that declare an example size."""
    for kind, values in (("input", facts.graph.input), ("output", facts.graph.output)):
        for value in values:
            for number, dim in enumerate(dims_of(value.type) or ()):
                if isinstance(dim, int) and dim in sizes and value.name not in facts.main.constants:
                    place = f"{kind} {value.name!r} axis {number}"
                    yield _Baked(sizes[dim], True, place, f"declares {_size(dim, sizes)}", DECLARE)


def _always(facts: Facts, sizes: dict[int, str]) -> Iterator[_Baked]:
    """Yield outputs that have an example size without declaring it."""
    for value in facts.graph.output:
        declared = dims_of(value.type) or ()
        for number, dim in enumerate(facts.main.dims(value.name) or ()):
            if isinstance(dim, int) and dim in sizes and declared[number : number + 1] != (dim,):
                problem = f"always has {_size(dim, sizes)}"
                yield _Baked(sizes[dim], True, f"output {value.name!r} axis {number}", problem)


def _in_nodes(facts: Facts, sizes: dict[int, str]) -> Iterator[_Baked]:
    axes = facts.axes
    for scope in facts.scopes:
        for node in scope.graph.node:
            if node.op_type in SHAPE_INPUT:
                yield from _shape_constant(scope, node, sizes)
            if node.op_type in ("Slice", "Split", "Gather", "TopK", "Pad"):
                yield from _along_an_axis(scope, node, sizes)
            if node.op_type == "Loop" and len(node.input) > 0:
                yield from _trips(scope, node, sizes)
            if is_recurrent(node):
                yield from _state(scope, node, sizes)
            yield from _one_size(scope, node, sizes, axes)
        for weight, count in repeated_cells(scope):
            if count in sizes:
                problem = f"is used by {count} unrolled steps, {_size(count, sizes)}"
                remedy = "export the recurrence as LSTM, GRU or RNN"
                yield _Baked(sizes[count], True, f"constant {weight!r}", problem, remedy)


def _shape_constant(scope: Scope, node: NodeProto, sizes: dict[int, str]) -> Iterator[_Baked]:
    name = input_at(node, SHAPE_INPUT[node.op_type])
    target = (scope.elements(name) if name else None) or []
    flat = _products(sizes)
    for number, value in enumerate(target):
        if value is None or value not in {**flat, **sizes}:
            continue
        if node.op_type == "Reshape" and fits_any_size(scope, node, target):
            continue
        axis = sizes.get(value) or flat[value]
        meaning = _size(value, sizes) if value in sizes else f"{value}, the example's {axis}"
        where = f"{scope.label(node)} input {name!r}"
        what = "limit" if node.op_type == "Range" else f"element {number}"
        yield _Baked(axis, True, where, f"{what} is {meaning}")


def _along_an_axis(scope: Scope, node: NodeProto, sizes: dict[int, str]) -> Iterator[_Baked]:
    """Yield constants that count along a dynamic axis and equal its size in the example."""
    dims = scope.dims(node.input[0])
    for axis, value, what in _counts(scope, node, dims):
        dim = dims[axis] if dims and -len(dims) <= axis < len(dims) else None
        if not isinstance(dim, str):
            continue
        last = what.startswith("index")
        size = value + 1 if last else value
        if size not in sizes or (dim in sizes.values() and dim != sizes[size]):
            continue
        proven = node.op_type != "Pad" and (not last or dim in sizes.values())
        of = "the last step of" if last else "the size of"
        problem = f"{what} {value} on the dynamic axis {axis} is {of} the example's {sizes[size]}"
        yield _Baked(sizes[size], proven, scope.label(node), problem)


def _counts(scope: Scope, node: NodeProto, dims: Dims | None) -> Iterator[tuple[int, int, str]]:
    """Yield (axis, constant, its meaning) of a node that slices, splits, picks or pads."""
    rank = len(dims or ())
    operands = [scope.elements(name) if name else None for name in node.input]
    operands += [None] * (5 - len(operands))
    if node.op_type == "Slice":
        axes = operands[3] if len(node.input) > 3 and node.input[3] else list(range(rank))
        for name, values in (("end", operands[2]), ("index", operands[1])):
            for axis, value in zip(axes or [], values or [], strict=False):
                if axis is not None and value is not None and (name == "end" or value > 0):
                    yield axis, value, name
    if node.op_type == "Split":
        axis, parts = int(attribute(node, "axis", 0)), operands[1]
        if parts and all(part is not None for part in parts):
            yield axis, sum(part for part in parts if part is not None), "sizes that sum to"
        elif attribute(node, "num_outputs") or not parts:
            yield axis, len(node.output), "a number of parts"
    if node.op_type == "Gather":
        picked = scope.array(node.input[1])
        if picked is not None and picked.size and int(picked.max()) > 0:
            yield int(attribute(node, "axis", 0)), int(picked.max()), "index"
    if node.op_type == "TopK" and operands[1] and operands[1][0] is not None:
        yield int(attribute(node, "axis", -1)), operands[1][0], "k"
    if node.op_type == "Pad" and operands[1] and len(operands[1]) == 2 * rank:
        for place, value in enumerate(operands[1]):
            if value is not None:
                yield place % rank, value, "padding of"


def _trips(scope: Scope, node: NodeProto, sizes: dict[int, str]) -> Iterator[_Baked]:
    count = scope.elements(node.input[0]) if node.input[0] else None
    if count and count[0] is not None and count[0] in sizes:
        meaning = _size(count[0], sizes)
        yield _Baked(sizes[count[0]], True, scope.label(node), f"trip count is {meaning}")


def _state(scope: Scope, node: NodeProto, sizes: dict[int, str]) -> Iterator[_Baked]:
    """Yield initial states and lengths that are constants for more than one row."""
    for name, rows, batch in initial_states(scope, node):
        place = f"{scope.label(node)} input {name!r}"
        if rows in sizes:
            yield _Baked(sizes[rows], True, place, f"holds {_size(rows, sizes)} rows")
        elif isinstance(batch, str):
            problem = f"holds {rows} rows for the dynamic batch {batch!r}"
            yield _Baked("batch", False, place, problem)
    lens = scope.array(input_at(node, SEQUENCE_LENS))
    if lens is not None and lens.size and len(set(lens.tolist())) == 1:
        length = int(lens.reshape(-1)[0])
        if length in sizes:
            place = f"{scope.label(node)} input {node.input[SEQUENCE_LENS]!r}"
            yield _Baked(sizes[length], True, place, f"is {_size(length, sizes)} for every row")


def _one_size(
    scope: Scope, node: NodeProto, sizes: dict[int, str], axes: set[str]
) -> Iterator[_Baked]:
    """Yield what runs at one size only of an axis that is dynamic."""
    for name, size, dim in broadcast(scope, node):
        place = f"{scope.label(node)} input {name!r}"
        if size in sizes:
            problem = f"a constant with {_size(size, sizes)} meets the dynamic axis {dim!r}"
            yield _Baked(sizes[size], True, place, problem)
        elif dim in axes:
            problem = f"a constant of size {size} meets the dynamic axis {dim!r}"
            yield _Baked(dim, False, place, problem)
    if node.op_type == "Reshape" and len(node.input) > 1:
        target, dims = scope.elements(node.input[1]), scope.dims(node.input[0])
        if target is not None and not any(value in sizes for value in target):
            named = _first_named(dims, axes)
            if named is not None and fits_any_size(scope, node, target) is False:
                shown = list(dims or ())
                problem = f"the fixed shape {target} does not fit every size of {shown}"
                yield _Baked(named, False, f"{scope.label(node)} input {node.input[1]!r}", problem)


def _first_named(dims: Dims | None, axes: set[str]) -> str | None:
    """Return the first dynamic axis, lengths before the batch; None where an axis is neither a size
    nor a name.
    """
    usable = [dim for dim in dims or () if isinstance(dim, int) or dim in axes]
    if dims is None or len(usable) < len(dims):
        return None
    named = [dim for dim in usable if isinstance(dim, str)]
    return next((dim for dim in named if not is_batch(dim)), named[0] if named else None)


def _products(sizes: dict[int, str]) -> dict[int, str]:
    """Return the example's batch times each of its lengths."""
    batch = next((size for size, axis in sizes.items() if is_batch(axis)), None)
    if batch is None:
        return {}
    return {batch * size: f"batch times {axis}" for size, axis in sizes.items() if size != batch}


def _size(size: int, sizes: dict[int, str]) -> str:
    return f"{size}, the example's {sizes[size]}"
