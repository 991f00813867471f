"""Defects of what goes in and comes out: names, types, shapes, order and values."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from onnx import TensorProto

from harness.core.schema import TensorSpec
from harness.graphs.edit import Edit
from harness.mutation.defects.defect import Mutant, Specimen, outputs

BAKED = 7
"""A fixed size in the place of one that should vary."""
TYPES = {"float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16}
STRAY = {"NaN": np.nan, "infinity": np.inf}
DECIMALS = 1000.0
LIMITS = (0.0, 0.999)


def output_negated(subject: Specimen) -> Iterator[Mutant]:
    """An output has the other sign."""
    for tensor, edit, kept in outputs(subject):
        edit.named(tensor.name, "Neg", [kept])
        yield Mutant(tensor.name, edit.done())


def classes_swapped(subject: Specimen) -> Iterator[Mutant]:
    """The first two features of an output have each other's place."""
    for tensor, edit, kept in outputs(subject):
        features = tensor.axes[-1]
        if isinstance(features, int) and features > 1:
            order = edit.constant([1, 0, *range(2, features)], np.int64)
            edit.named(tensor.name, "Gather", [kept, order], axis=len(tensor.axes) - 1)
            yield Mutant(tensor.name, edit.done())


def outputs_exchanged(subject: Specimen) -> Iterator[Mutant]:
    """Two outputs of the same type and shape have each other's values."""
    for tensor, partner in combinations(subject.spec.outputs, 2):
        if (tensor.dtype, tensor.axes) == (partner.dtype, partner.axes):
            edit = Edit(subject.model)
            first, second = edit.released(tensor.name), edit.released(partner.name)
            edit.named(tensor.name, "Identity", [second])
            edit.named(partner.name, "Identity", [first])
            yield Mutant(f"{tensor.name}/{partner.name}", edit.done())


def output_dropped(subject: Specimen) -> Iterator[Mutant]:
    """One of several outputs is missing."""
    for tensor in subject.spec.outputs if len(subject.spec.outputs) > 1 else ():
        edit = Edit(subject.model)
        edit.graph.output.remove(_declared(edit.graph.output, tensor))
        yield Mutant(tensor.name, edit.done())


def output_duplicated(subject: Specimen) -> Iterator[Mutant]:
    """An output comes twice, under another name or its own."""
    for tensor in subject.spec.outputs:
        for name in (f"{tensor.name}_1", tensor.name):
            edit = Edit(subject.model)
            twin = edit.graph.output.add()
            twin.CopyFrom(_declared(edit.graph.output, tensor))
            twin.name = name
            if name != tensor.name:
                edit.named(name, "Identity", [tensor.name])
            yield Mutant(f"{tensor.name} as {name}", edit.done())


def output_renamed(subject: Specimen) -> Iterator[Mutant]:
    """An output has another name."""
    for tensor, edit, kept in outputs(subject):
        _declared(edit.graph.output, tensor).name = f"{tensor.name}_1"
        edit.named(f"{tensor.name}_1", "Identity", [kept])
        yield Mutant(tensor.name, edit.done())


def output_retyped(subject: Specimen) -> Iterator[Mutant]:
    """An output is float64 or float16, and says so."""
    for label, dtype in TYPES.items():
        for tensor, edit, kept in outputs(subject):
            _declared(edit.graph.output, tensor).type.tensor_type.elem_type = dtype
            edit.named(tensor.name, "Cast", [kept], to=dtype)
            yield Mutant(f"{tensor.name} {label}", edit.done())


def output_rank_changed(subject: Specimen) -> Iterator[Mutant]:
    """An output has one more axis, of size 1, at its end."""
    for tensor, edit, kept in outputs(subject):
        _declared(edit.graph.output, tensor).type.tensor_type.shape.dim.add().dim_value = 1
        shape = edit.constant([0] * len(tensor.axes) + [1], np.int64)
        edit.named(tensor.name, "Reshape", [kept, shape])
        yield Mutant(tensor.name, edit.done())


def output_shape_misdeclared(subject: Specimen) -> Iterator[Mutant]:
    """An output declares a size that it does not have, for an axis that varies or its features."""
    for tensor in subject.spec.outputs:
        for axis, size in enumerate(tensor.axes):
            edit = Edit(subject.model)
            declared = _declared(edit.graph.output, tensor).type.tensor_type.shape.dim[axis]
            declared.dim_value = size + 1 if isinstance(size, int) else BAKED
            yield Mutant(f"{tensor.name} axis {axis}", edit.done())


def output_not_finite(subject: Specimen) -> Iterator[Mutant]:
    """The last feature of an output's first row and step is NaN or infinite."""
    for label, value in STRAY.items():
        for tensor, edit, kept in _floats(subject):
            features = tensor.axes[-1]
            last = features - 1 if isinstance(features, int) else 0
            index = edit.constant([[0] * (len(tensor.axes) - 1) + [last]], np.int64)
            stray = edit.constant([value], tensor.dtype)
            edit.named(tensor.name, "ScatterND", [kept, index, stray])
            yield Mutant(f"{tensor.name} {label}", edit.done())


def output_constant(subject: Specimen) -> Iterator[Mutant]:
    """An output has its mean everywhere."""
    for tensor, edit, kept in outputs(subject):
        zeros = edit.node("Sub", [kept, kept])
        edit.named(tensor.name, "Add", [zeros, edit.reduced("ReduceMean", kept)])
        yield Mutant(tensor.name, edit.done())


def output_rounded(subject: Specimen) -> Iterator[Mutant]:
    """An output is rounded to three decimals."""
    for tensor, edit, kept in _floats(subject):
        thousand = edit.constant(DECIMALS, tensor.dtype)
        rounded = edit.node("Round", [edit.node("Mul", [kept, thousand])])
        edit.named(tensor.name, "Div", [rounded, thousand])
        yield Mutant(tensor.name, edit.done())


def output_clipped(subject: Specimen) -> Iterator[Mutant]:
    """An output is cut at 0 and 0.999."""
    for tensor, edit, kept in outputs(subject):
        low, high = (edit.constant(limit, tensor.dtype) for limit in LIMITS)
        edit.named(tensor.name, "Clip", [kept, low, high])
        yield Mutant(tensor.name, edit.done())


def inputs_exchanged(subject: Specimen) -> Iterator[Mutant]:
    """Two inputs of the same type and rank are taken for each other."""
    for tensor, partner in combinations(subject.spec.inputs, 2):
        if (tensor.dtype, len(tensor.axes)) == (partner.dtype, len(partner.axes)):
            edit = Edit(subject.model)
            names = {tensor.name: partner.name, partner.name: tensor.name}
            for node in edit.nodes:
                node.input[:] = [names.get(name, name) for name in node.input]
            yield Mutant(f"{tensor.name}/{partner.name}", edit.done())


def input_ignored(subject: Specimen) -> Iterator[Mutant]:
    """An input is taken for zeros, and a length for 7, whatever is given."""
    for tensor in subject.spec.inputs:
        edit = Edit(subject.model)
        readers = edit.consumers(tensor.name)
        ignored = edit.node("Sub", [tensor.name, tensor.name])
        if tensor.name in subject.spec.lengths:
            ignored = edit.node("Add", [ignored, edit.constant(BAKED, tensor.dtype)])
        edit.redirect(tensor.name, ignored, readers)
        yield Mutant(tensor.name, edit.done())


def input_renamed(subject: Specimen) -> Iterator[Mutant]:
    """An input has another name."""
    for tensor in subject.spec.inputs:
        edit = Edit(subject.model)
        _declared(edit.graph.input, tensor).name = f"{tensor.name}_1"
        edit.redirect(tensor.name, f"{tensor.name}_1")
        yield Mutant(tensor.name, edit.done())


def input_dropped(subject: Specimen) -> Iterator[Mutant]:
    """An input is missing: zeros stand in its place, or 7 for a length."""
    for tensor in subject.spec.inputs:
        edit = Edit(subject.model)
        sources = _sources(subject, tensor)
        if len(sources) < len(tensor.axes):
            continue
        readers = edit.consumers(tensor.name)
        baked = BAKED if tensor.name in subject.spec.lengths else 0
        instead = edit.constant(baked, tensor.dtype)
        if sources:
            sizes = [
                edit.node("Gather", [edit.node("Shape", [name]), edit.constant([axis], np.int64)])
                for name, axis in sources
            ]
            instead = edit.node("Expand", [instead, edit.node("Concat", sizes, axis=0)])
        edit.redirect(tensor.name, instead, readers)
        edit.graph.input.remove(_declared(edit.graph.input, tensor))
        yield Mutant(tensor.name, edit.done())


def _floats(subject: Specimen) -> Iterator[tuple[TensorSpec, Edit, str]]:
    """Yield the ``outputs`` that are floats: integers have no fraction and are always finite."""
    return (entry for entry in outputs(subject) if np.dtype(entry[0].dtype).kind == "f")


def _declared(values: Any, tensor: TensorSpec) -> Any:
    """Return the declaration of an input or output."""
    return next(value for value in values if value.name == tensor.name)


def _sources(subject: Specimen, tensor: TensorSpec) -> list[tuple[str, int]]:
    """Return another input and its axis, for each axis of ``tensor`` that is as long as that."""
    others = [t for t in subject.spec.inputs if t is not tensor]
    alike = [
        [(t.name, t.axes.index(size)) for t in others if size in t.axes] for size in tensor.axes
    ]
    return [places[0] for places in alike if places]
