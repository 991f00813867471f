"""Planted defects: their form, and where in a model they have a place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from inspect import isfunction
from types import ModuleType
from typing import Any

import onnx

from harness.core.schema import Arrays, ModelSpec, Session, TensorSpec
from harness.graphs.edit import Edit


@dataclass(frozen=True)
class Specimen:
    """A conforming model in which defects are planted.

    ``unit`` returns, for an output and the inputs of a case, the larger of its noise floor and one
    float32 ulp of its scale; without it a defect that is measured in noise floors has no place.
    """

    model: onnx.ModelProto
    spec: ModelSpec
    unit: Callable[[str, Arrays], float] | None = None


@dataclass(frozen=True)
class Mutant:
    """One defect at one ``place``: a changed graph, or a changed session of the same graph.

    A graded defect has a ``size``, and its mutants at one place come largest first. One that is
    ``certain`` changes an output wherever it shows, so that none of it is equivalent.
    """

    place: str
    model: onnx.ModelProto | None = None
    wrap: Callable[[Session], Session] | None = None
    size: float | None = None
    certain: bool = False


Defect = Callable[[Specimen], Iterator[Mutant]]
"""Plants itself at every place of a subject where it can be; none where there is no such place.

Its name is the function's, with hyphens; its docstring is one sentence that says what is wrong.
"""


def defects_of(module: ModuleType) -> list[Defect]:
    """Return the defects of a family: the public functions that its module defines."""
    functions = [value for value in vars(module).values() if isfunction(value)]
    own = [function for function in functions if function.__module__ == module.__name__]
    return [function for function in own if not function.__name__.startswith("_")]


def name(defect: Defect) -> str:
    return defect.__name__.replace("_", "-")


def sentence(defect: Defect) -> str:
    return (defect.__doc__ or "").strip()


def family(defect: Defect) -> str:
    """Return what the kinds of one module have in common: the module's first line."""
    return (sys.modules[defect.__module__].__doc__ or "").strip().splitlines()[0].rstrip(".")


def place(number: int, node: Any) -> str:
    """Return a node's name in a table: its kind and its number among those of a list."""
    return f"{node.op_type} {number}"


def copied(subject: Specimen, node: Any) -> tuple[Edit, Any]:
    """Return a working copy of the model and, in it, the copy of ``node``."""
    edit = Edit(subject.model)
    return edit, next(twin for twin in edit.nodes if twin.output == node.output)


def each(
    subject: Specimen, choose: Callable[[Edit], Iterable[Any]]
) -> Iterator[tuple[str, Edit, Any]]:
    """Yield each node that ``choose`` picks: its place, a copy of the model, the node in that."""
    for number, node in enumerate(choose(Edit(subject.model))):
        yield place(number, node), *copied(subject, node)


def recurrent(subject: Specimen, *kinds: str) -> Iterator[tuple[str, Edit, Any]]:
    """Yield each recurrent node, or each of some ``kinds``; its number counts all of them."""
    every = each(subject, Edit.recurrent)
    return (entry for entry in every if not kinds or entry[2].op_type in kinds)


def outputs(subject: Specimen) -> Iterator[tuple[TensorSpec, Edit, str]]:
    """Yield each output with a copy in which no node has its name, and its values' new name."""
    for tensor in subject.spec.outputs:
        edit = Edit(subject.model)
        yield tensor, edit, edit.released(tensor.name)
