"""An ONNX file as a user model, whose reference is the float64 oracle of its graph."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from harness.core.errors import CheckError, LoadError, StageError, UsageError, one_line
from harness.core.names import check_printable, visible
from harness.core.reading import MODEL_BYTES, check_file, read_bytes
from harness.core.schema import BATCH, Array, Arrays, Axis
from harness.goldens.noise_floor import JITTERED
from harness.graphs import interface, walk
from harness.graphs.attributes import attribute, constants
from harness.graphs.inference import dims_of
from harness.graphs.recurrent import is_recurrent
from harness.oracle.rounding import measure
from harness.subjects.description import InputDescription

FRAMEWORK = "onnx"
COUNTED = re.compile(r"unk__\d+")
READS_ROWS = ("Gather", "GatherElements")


def read(path: Path) -> onnx.ModelProto:
    """Return the model in a file; UsageError where it is no valid ONNX with printable names."""
    check_file(path, MODEL_BYTES)
    try:
        model = interface.read(str(path))
        taken = interface.standard(model)
        onnx.checker.check_model(str(path) if taken is model else taken)
    except CheckError as error:
        raise UsageError(visible(str(error))) from None
    except Exception as error:
        raise UsageError(visible(f"{path} is not valid ONNX: {one_line(error)}")) from None
    if not model.graph.node or not model.graph.output:
        raise UsageError(f"{path} is an empty graph; expected nodes and outputs")
    for kind in ("input", "output"):
        for value in getattr(model.graph, kind):
            check_printable(value.name, f"{path}: an {kind}'s name")
    return model


class OnnxFile:
    """A user model in an ONNX file."""

    framework = FRAMEWORK

    def __init__(self, path: Path) -> None:
        self.path, self.model = path, read(path)
        self._inputs = walk.inputs(self.model.graph)

    @property
    def class_name(self) -> str:
        return self.path.name

    def inputs(self) -> list[InputDescription]:
        """Return every input; axes keep their symbols, an index ranges over its table's rows."""
        shapes = {value.name: _dims(value) for value in self._inputs}
        batch = _batch(shapes.values())
        shapes = {name: _sharing(dims, batch) for name, dims in shapes.items()}
        rows, lengths = self._rows(), self._lengths()
        axes = {name: _axes(dims, batch) for name, dims in shapes.items()}
        named = {axis for of in axes.values() for axis in of if isinstance(axis, str)} - {BATCH}
        described = []
        for value in self._inputs:
            if value.type.WhichOneof("value") != "tensor_type":
                raise UsageError(f"{self.path}: input {value.name!r} is no tensor")
            dtype = _dtype(value)
            high = rows.get(value.name)
            low = None if high is None else 0.0
            one = InputDescription(value.name, str(dtype), axes[value.name], low, high)
            if value.name in lengths and len(named) == 1 and one.axes == (BATCH,):
                one = replace(one, lengths_of=next(iter(named)))
            described.append(one)
        return described

    def arrange(self, names: Sequence[str]) -> list[str]:
        """Return the graph's order of inputs; UsageError where it has not one of ``names``."""
        own = [value.name for value in self._inputs]
        if unknown := [name for name in names if name not in own]:
            raise UsageError(f"{self.path} has no input {unknown[0]!r}; it takes: {', '.join(own)}")
        return own

    def parameters(self) -> Arrays:
        """Return the file's SHA-256, which stands for the weights."""
        digest = hashlib.sha256(read_bytes(self.path, MODEL_BYTES)).digest()
        return {"sha256": np.frombuffer(digest, np.uint8)}

    def run(self, inputs: Arrays, wide: bool) -> list[tuple[str, Array]]:
        """Return the outputs, in the dtypes that the graph declares unless ``wide``.

        UsageError where the oracle lacks an operator.
        """
        dtypes = {value.name: _dtype(value) for value in self.model.graph.output}
        try:
            (outputs, _), *_ = measure(self.path, [inputs], 1)
        except LoadError as error:
            raise UsageError(
                f"{self.path} has no reference: {error}; judge it by outputs that you trust:"
                f" harness.validate {self.path} --golden DIR"
            ) from None
        return [(n, v if wide else v.astype(dtypes[n])) for n, v in outputs.items()]

    def measure(self, inputs: Sequence[Arrays]) -> list[list[Arrays]]:
        """Return the outputs of ``JITTERED`` rounded runs for each set of inputs."""
        try:
            return [rounded for _, rounded in measure(self.path, inputs, JITTERED)]
        except StageError as error:
            raise UsageError(f"{self.path}: the float64 oracle cannot run it: {error}") from None

    def _rows(self) -> dict[str, float]:
        """Return the last row of the table that an input indexes, by the input's name."""
        tables = constants(self.model.graph)
        sizes = {name: table.dims[0] for name, table in tables.items() if table.dims}
        sources, rows = self._sources(), dict[str, float]()
        for node in self.model.graph.node:
            by_row = node.op_type in READS_ROWS and attribute(node, "axis", 0) == 0
            if by_row and node.input[0] in sizes and (source := sources.get(node.input[1])):
                last = float(sizes[node.input[0]] - 1)
                rows[source] = min(rows.get(source, last), last)
        return rows

    def _lengths(self) -> set[str]:
        """Return the inputs that are the number of valid steps of a recurrent node's rows."""
        sources = self._sources()
        return {
            sources[node.input[4]]
            for node in self.model.graph.node
            if is_recurrent(node) or node.op_type == "DynamicQuantizeLSTM"
            if len(node.input) > 4 and node.input[4] in sources
        }

    def _sources(self) -> dict[str, str]:
        """Return the input that a value is, or is but for its dtype, by the value's name."""
        sources = {v.name: v.name for v in self._inputs}
        for node in self.model.graph.node:
            if node.op_type in ("Cast", "Identity") and node.input[0] in sources:
                sources[node.output[0]] = sources[node.input[0]]
        return sources


def _dtype(value: Any) -> Any:
    kind = value.type.tensor_type.elem_type
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(kind)
    except KeyError:
        raise UsageError(f"{value.name!r} has the unknown element type {kind}") from None


def _dims(value: Any) -> list[Axis | None]:
    if (dims := dims_of(value.type)) is None:
        raise UsageError(f"input {value.name!r} declares no shape; describe it: --input TEXT")
    return [*dims]


def _batch(shapes: Iterable[list[Axis | None]]) -> str:
    """Return the symbol with the batch's name, else the first one on the first axis of an input."""
    symbols = [[axis if isinstance(axis, str) else "" for axis in dims] for dims in shapes]
    named = [axis for dims in symbols for axis in dims if BATCH in axis.lower()]
    return next((axis for axis in [*named, *(d[0] for d in symbols if d)] if axis), "")


def _sharing(dims: list[Axis | None], batch: str) -> list[Axis | None]:
    """Return sizes with the batch's symbol first where tf2onnx has one of its own: ``unk__3``."""
    first, *others = dims or [None]
    own = isinstance(first, str) and COUNTED.fullmatch(first) is not None
    return [batch, *others] if dims and own and batch not in others else dims


def _axes(dims: list[Axis | None], batch: str) -> tuple[Axis | None, ...]:
    """Return the axes with names that are identifiers, the symbol ``batch`` with the batch's."""
    named: list[Axis | None] = []
    for dim in dims:
        if isinstance(dim, str):
            clean = "".join(c if c.isalnum() else "_" for c in dim).strip("_")
            named.append(BATCH if dim == batch else (clean or None))
        else:
            named.append(dim)
    return tuple(named)
