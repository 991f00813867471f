"""The cell that a relation is tried on, and the pairs that it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import StageError
from harness.core.schema import (
    Array,
    Arrays,
    Case,
    GoldenCase,
    ModelSpec,
    Raggedness,
    Runtime,
    Session,
    Stage,
    TensorSpec,
)


class StructureError(StageError):
    """An output's name, dtype or shape is not what the specification says."""

    stage = Stage.COMPARE


@dataclass(frozen=True)
class Context:
    """One cell as relations see it.

    ``session`` holds ``model`` and has run before; ``cases`` are those that the relations are
    tried at; ``raggedness`` has every kind of padding that the model is recorded with;
    ``structure`` returns how outputs differ from the specification, empty where they do not;
    ``folder`` is for derived graphs and lasts as long as the relation.
    """

    spec: ModelSpec
    model: Path
    runtime: Runtime
    session: Session
    cases: Sequence[GoldenCase]
    raggedness: frozenset[Raggedness]
    structure: Callable[[ModelSpec, GoldenCase, Sequence[tuple[str, Array]]], str]
    folder: Path

    def run(self, inputs: Arrays, case: Case, session: Session | None = None) -> Arrays:
        """Return the outputs by name; StageError where it fails or shapes are not of ``case``.

        ``session`` is the context's own by default. The outputs are copies, since a session may
        write its next ones into the same memory.
        """
        outputs = (session or self.session).run(inputs)
        if reason := self.structure(self.spec, GoldenCase(case, inputs, {}, None, {}), outputs):
            raise StructureError(reason)
        return {name: value.copy() for name, value in outputs}

    def derived(self, model: Any) -> Session:
        """Return a session of a graph (``onnx.ModelProto``) that was derived from the model's."""
        import onnx

        path = self.folder / "derived.onnx"
        onnx.save(model, path)
        return self.runtime.prepare(str(path))


@dataclass(frozen=True)
class Pair:
    """Outputs of two runs that agree where the relation holds.

    ``how`` distinguishes the pair from others of the same case. Where ``exact`` is set, the two
    agree bit for bit. Where it is ``whole``, both hold what is promised alone: no padded steps.
    """

    how: str
    expected: Arrays
    actual: Arrays
    exact: bool = False
    whole: bool = False


Check = Callable[[GoldenCase], Iterator[Pair]]
"""Yields the pairs of one case; none where the case has nothing to show."""
Relation = Callable[[Context], Check | str]
"""In a line why the relation does not apply to the model; StageError where it cannot be tried."""


def taken(
    tensors: Sequence[TensorSpec], values: Arrays, axis: str, places: Sequence[int] | Array
) -> Arrays:
    """Return the values at these places of ``axis``; a tensor without that axis stays whole."""
    return {
        t.name: values[t.name].take(places, axis=t.axes.index(axis))
        if axis in t.axes
        else values[t.name]
        for t in tensors
    }


def joined(tensors: Sequence[TensorSpec], parts: Sequence[Arrays], axis: str) -> Arrays:
    """Return the parts joined along ``axis``; a tensor without that axis is the last part's."""
    return {
        t.name: np.concatenate([part[t.name] for part in parts], axis=t.axes.index(axis))
        if axis in t.axes
        else parts[-1][t.name]
        for t in tensors
    }
