"""An ONNX file as a model of one's own: its reference is the float64 oracle of its own graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnx

from harness.core.errors import CheckError, StageError, UsageError, one_line
from harness.core.schema import BATCH, Array, Arrays, Axis
from harness.graphs import interface, walk
from harness.graphs.attributes import attribute, constants
from harness.graphs.inference import dims_of
from harness.oracle.rounding import measure
from harness.subjects.described import Described

FRAMEWORK = "onnx"
READS_ROWS = ("Gather", "GatherElements")


def read(path: Path) -> onnx.ModelProto:
    """The model in a file; UsageError where it is no valid ONNX."""
    try:
        model = interface.read(str(path))
        onnx.checker.check_model(str(path))
    except CheckError as error:
        raise UsageError(str(error)) from None
    except Exception as error:
        raise UsageError(f"{path} is not valid ONNX: {one_line(error)}") from None
    if not model.graph.node or not model.graph.output:
        raise UsageError(f"{path} is an empty graph; expected nodes and outputs")
    return model


class OnnxFile:
    """A graph; a symbol named like the batch, else the first one of an input, is the batch."""

    framework = FRAMEWORK

    def __init__(self, path: Path) -> None:
        self.path, self.model = path, read(path)
        self._inputs = walk.inputs(self.model.graph)
        self._names: tuple[str, ...] = ()

    @property
    def class_name(self) -> str:
        return self.path.name

    def inputs(self) -> list[Described]:
        """Every input; an axis keeps its symbol, and what indexes a table has its rows as range."""
        shapes = {value.name: _dims(value) for value in self._inputs}
        batch = _batch(shapes.values())
        rows = self._rows()
        found = []
        for value in self._inputs:
            if value.type.WhichOneof("value") != "tensor_type":
                raise UsageError(f"{self.path}: input {value.name!r} is no tensor")
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            axes = _axes(shapes[value.name], batch)
            high = rows.get(value.name)
            low = None if high is None else 0.0
            found.append(Described(value.name, str(dtype), axes, low, high))
        return found

    def arrange(self, names: Sequence[str]) -> list[str]:
        """The graph's own order; UsageError where it has no such input."""
        there = [value.name for value in self._inputs]
        if odd := [name for name in names if name not in there]:
            raise UsageError(f"{self.path} has no input {odd[0]!r}; it takes: {', '.join(there)}")
        self._names = tuple(there)
        return there

    def run(self, inputs: Arrays, wide: bool) -> list[tuple[str, Array]]:
        """The outputs, in the dtypes that the graph declares unless ``wide``."""
        dtypes = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in self.model.graph.output
        }
        (outputs, _), *_ = measure(self.path, [inputs], 1)
        return [(n, v if wide else v.astype(dtypes[n])) for n, v in outputs.items()]

    def measure(self, inputs: Sequence[Arrays]) -> list[tuple[Arrays, dict[str, float]]]:
        """The oracle's float64 outputs of each inputs, and their noise."""
        try:
            return measure(self.path, inputs)
        except StageError as error:
            raise UsageError(f"{self.path}: the float64 oracle cannot run it: {error}") from None

    def _rows(self) -> dict[str, float]:
        """The last row of the table that an input indexes, by the input's name."""
        tables = constants(self.model.graph)
        sizes = {name: table.dims[0] for name, table in tables.items() if table.dims}
        made_from = {v.name: v.name for v in self._inputs}
        rows: dict[str, float] = {}
        for node in self.model.graph.node:
            if node.op_type in ("Cast", "Identity") and node.input[0] in made_from:
                made_from[node.output[0]] = made_from[node.input[0]]
            by_row = node.op_type in READS_ROWS and attribute(node, "axis", 0) == 0
            if by_row and node.input[0] in sizes:
                source = made_from.get(node.input[1])
                if source is not None:
                    last = float(sizes[node.input[0]] - 1)
                    rows[source] = min(rows.get(source, last), last)
        return rows


def _dims(value: Any) -> list[Axis | None]:
    if (dims := dims_of(value.type)) is None:
        raise UsageError(f"input {value.name!r} declares no shape; describe it: --input TEXT")
    return [*dims]


def _batch(shapes: Iterable[list[Axis | None]]) -> str:
    """The symbol that has the batch's name, else the first one on the first axis of an input."""
    symbols = [[axis if isinstance(axis, str) else "" for axis in dims] for dims in shapes]
    told = [axis for dims in symbols for axis in dims if BATCH in axis.lower()]
    return next((axis for axis in [*told, *(d[0] for d in symbols if d)] if axis), "")


def _axes(dims: list[Axis | None], batch: str) -> tuple[Axis | None, ...]:
    """The axes with names that can be Python's; the symbol that is the batch has that name."""
    named: list[Axis | None] = []
    for dim in dims:
        if isinstance(dim, str):
            clean = "".join(c if c.isalnum() else "_" for c in dim).strip("_")
            named.append(BATCH if dim == batch else (clean or None))
        else:
            named.append(dim)
    return tuple(named)
