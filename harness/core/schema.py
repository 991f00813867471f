"""The types of specifications, cases and runtimes: standard library and NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.core.axis_rules import AxisRule, fitted

Array = NDArray[Any]
Arrays = dict[str, Array]
Axis = str | int
Lengths = Mapping[str, int]
BATCH = "batch"


class Stage(StrEnum):
    """The stages of a cell, in order."""

    EXPORT = "export"
    CHECK = "check"
    LOAD = "load"
    RUN = "run"
    COMPARE = "compare"


class Raggedness(StrEnum):
    """Where the valid steps of a case's rows lie; ``NONE`` has no padding."""

    NONE = "none"
    RIGHT = "right"
    LEFT = "left"
    GAPPED = "gapped"
    EMPTY = "empty"


AT_THE_END = (Raggedness.NONE, Raggedness.RIGHT, Raggedness.EMPTY)
"""Without padding before a valid step."""


class RowLengths(StrEnum):
    """How long the rows of a padded case are, where that is not left to chance.

    ``FIRST`` has a first row that is longest, or empty where a row is to be, and is itself padded.
    In the others a row is full, as where a batch is padded to its longest: ``MIXED`` has a first
    row shorter than a later one, unsorted lengths, and two alike; ``DESCENDING`` is sorted.
    ``LATE`` has one empty row, which is not the first, ``TWO`` has two.
    """

    FIRST = "first"
    MIXED = "mixed"
    DESCENDING = "descending"
    LATE = "late"
    TWO = "two"


PaddedSteps = Literal["repeat", "zero"]


@dataclass(frozen=True)
class TensorSpec:
    """One named input or output.

    ``axes`` holds a name for every dynamic axis (``"batch"`` or a sequence axis) and the size of
    every fixed one. An input's values are at least ``low`` and below ``high``, drawn uniformly or,
    where ``normal``, nearly so with a standard deviation of a twelfth of the range; floats that
    are ``whole`` are integers. Floats may be NaN where ``nan``.
    """

    name: str
    dtype: str
    axes: tuple[Axis, ...]
    low: float = -1.0
    high: float = 1.0
    normal: bool = False
    whole: bool = False
    nan: bool = False

    @property
    def step_axis(self) -> int | None:
        """The position of the time axis: the first dynamic one that is not the batch.

        Where there is none, the second of three axes is a time of fixed length.
        """
        fixed = 1 if len(self.axes) == 3 and self.axes[1] != BATCH else None
        named = (i for i, a in enumerate(self.axes) if isinstance(a, str) and a != BATCH)
        return next(named, fixed)

    def shape(self, batch: int, lengths: Lengths) -> tuple[int, ...]:
        """Return the concrete shape at a batch size and a length per sequence axis."""
        sizes = {BATCH: batch, **lengths}
        return tuple(sizes[a] if isinstance(a, str) else a for a in self.axes)

    def at_steps(self, value: Array, steps: Array | None) -> Array:
        """Return ``value`` at these places of its time axis; all of it where either is None."""
        axis = self.step_axis
        return value if axis is None or steps is None else value.take(steps, axis=axis)


@dataclass(frozen=True)
class ModelSpec:
    """The specification of a model; imports no framework.

    ``padded`` names the input [batch, steps, …] whose value ``padding`` marks a padded step, and
    ``also_padded`` maps further ones to theirs; the batch may also come after the steps. ``masks``
    maps each input [batch, steps] that is 1 at valid steps and 0 at padded ones, or what ``marks``
    has for it, to the sequence axis that it masks. ``padded_steps`` maps a framework to what a
    recurrent layer yields at a padded step: its last valid output (``repeat``) or ``zero``.
    ``weights`` names the model that is trained and whose weights this one shares. ``lengths`` maps
    each input that is a length to its axis: it is filled, not drawn; one of shape [batch] holds the
    valid steps of each row.
    ``frameworks`` are those that have a twin. ``states`` maps each input that is a state to the
    output that is the same state after the last step. Rows are ``never_empty`` where the model is
    given none without a valid step; with ``valid_only`` outputs mean nothing at padded steps.
    ``rules`` hold what is known of sequence axes: multiples, ranges, sums of others. ``causal``
    maps an input, whose last two axes are the steps of queries and of keys, to what it holds where
    a query sees a key and where it does not, because the key comes later.
    ``unchanged`` has the places of padding that leave the values at valid steps as they are; None
    where that is not known.
    """

    name: str
    summary: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights: str
    padded: str | None = None
    padded_steps: Mapping[str, PaddedSteps] = field(default_factory=dict)
    lengths: Mapping[str, str] = field(default_factory=dict)
    frameworks: tuple[str, ...] = ("keras", "torch")
    states: Mapping[str, str] = field(default_factory=dict)
    padding: float = 0
    masks: Mapping[str, str] = field(default_factory=dict)
    never_empty: bool = False
    valid_only: bool = False
    unchanged: tuple[Raggedness, ...] | None = None
    also_padded: Mapping[str, float] = field(default_factory=dict)
    marks: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rules: Mapping[str, AxisRule] = field(default_factory=dict)
    causal: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def fitted(self, lengths: Lengths) -> dict[str, int]:
        """Return lengths that follow the rules of the axes, with those that follow from others."""
        return fitted(self.rules, lengths)

    @property
    def axes(self) -> tuple[str, ...]:
        """The sequence axes, in order of first appearance."""
        named = [a for t in self.inputs + self.outputs for a in t.axes if isinstance(a, str)]
        return tuple(dict.fromkeys(a for a in named if a != BATCH))

    @property
    def paddings(self) -> dict[str, float]:
        """The value that marks a padded step, of every padded input."""
        return {**({self.padded: self.padding} if self.padded else {}), **self.also_padded}

    def padded_axis(self, tensor: TensorSpec) -> str | None:
        """The sequence axis whose padding an input tells; None where it tells of none."""
        if tensor.name in self.paddings:
            return next(a for a in tensor.axes if isinstance(a, str) and a != BATCH)
        if tensor.name in self.masks:
            return self.masks[tensor.name]
        if tensor.name in self.lengths and BATCH in tensor.axes:
            return self.lengths[tensor.name]
        return None

    @property
    def ragged_axes(self) -> tuple[str, ...]:
        """The sequence axes whose steps may be padded, each by itself."""
        told = [self.padded_axis(tensor) for tensor in self.inputs]
        return tuple(dict.fromkeys(axis for axis in told if axis is not None))

    @property
    def ragged(self) -> str | None:
        """The first sequence axis whose steps may be padded; None where every step is valid."""
        return next(iter(self.ragged_axes), None)

    @property
    def raggedness(self) -> tuple[Raggedness, ...]:
        """Where valid steps may lie; with lengths padding is only at the end of a row."""
        if self.ragged is None:
            return (Raggedness.NONE,)
        kinds = AT_THE_END if self.lengths else tuple(Raggedness)
        return tuple(k for k in kinds if not (self.never_empty and k is Raggedness.EMPTY))

    def valid_steps(self, inputs: Mapping[str, Array], axis: str | None = None) -> Array | None:
        """Return which steps of a ragged axis, the first by default, hold data.

        It is [batch, steps] bool. A step is padded where a padded input holds nothing but its
        padding, a mask says so, or a row's length is over. None where the axis is not ragged.
        """
        axis = axis or self.ragged
        for tensor in self.inputs if axis else ():
            if self.padded_axis(tensor) != axis:
                continue
            value = inputs[tensor.name]
            if tensor.name in self.paddings or tensor.name in self.masks:
                at = tensor.axes.index(BATCH), tensor.axes.index(axis)
                value = np.moveaxis(value, at, (0, 1))
            if tensor.name in self.paddings:
                marks = value != np.asarray(self.paddings[tensor.name]).astype(value.dtype)
                return np.asarray(marks.any(axis=tuple(range(2, marks.ndim))))
            if tensor.name in self.masks:
                return np.asarray(
                    value != np.asarray(self.mark(tensor.name)[1]).astype(value.dtype)
                )
            along = [t for t in self.inputs if axis in t.axes]
            sizes = [inputs[t.name].shape[t.axes.index(axis)] for t in along]
            return np.arange(max([*sizes, *value])) < value[:, None]
        return None

    def mark(self, mask: str) -> tuple[float, float]:
        """Return what a mask holds at valid and at padded steps."""
        return self.marks.get(mask, (1, 0))

    def left_out(self, tensor: TensorSpec, inputs: Mapping[str, Array]) -> Array | None:
        """Return which places of an output are padded steps that mean nothing, in its shape.

        Axes but the batch and the ragged ones have the size 1. None where all places mean
        something.
        """
        return self.padded_places(tensor, inputs) if self.valid_only else None

    def padded_places(self, tensor: TensorSpec, inputs: Mapping[str, Array]) -> Array | None:
        """Return which places of an output are padded steps, as ``left_out`` does."""
        axes, places = tensor.axes, None
        for axis in self.ragged_axes:
            valid = self.valid_steps(inputs, axis)
            if valid is None or axis not in axes or BATCH not in axes:
                continue
            padded = np.expand_dims(~valid, tuple(range(2, len(axes))))
            padded = np.moveaxis(padded, (0, 1), (axes.index(BATCH), axes.index(axis)))
            places = padded if places is None else places | padded
        return places

    def padded_outside(self, inputs: Arrays, valid: Array, axis: str | None = None) -> Arrays:
        """Return the inputs with every step of a ragged axis padded that is not ``valid``.

        That is [batch, steps] bool, the axis the first ragged one by default. At padded steps
        a padded input holds its padding and a mask its mark; a row's length is the number of its
        valid steps.
        """
        axis, result = axis or self.ragged, dict(inputs)
        for tensor in self.inputs if axis else ():
            if self.padded_axis(tensor) != axis:
                continue
            name, dtype = tensor.name, inputs[tensor.name].dtype
            if name in self.lengths:
                result[name] = valid.sum(axis=1).astype(dtype)
                continue
            result[name] = inputs[name].copy()
            at = tensor.axes.index(BATCH), tensor.axes.index(axis)
            rows = np.moveaxis(result[name], at, (0, 1))
            if name in self.masks:
                rows[...] = np.where(valid, *(np.asarray(n).astype(dtype) for n in self.mark(name)))
            else:
                rows[~valid] = self.paddings[name]
        return result

    def output(self, name: str) -> TensorSpec:
        return next(t for t in self.outputs if t.name == name)


@dataclass(frozen=True)
class Case:
    """One golden input: a length for each sequence axis, a batch and a raggedness.

    There is more than one ``draw`` of values at a size where few sizes or many values are to be
    tried.
    """

    lengths: Lengths
    batch: int
    raggedness: Raggedness = Raggedness.NONE
    repeat: bool = False
    draw: int = 0
    rows: RowLengths = RowLengths.FIRST

    @cached_property
    def id(self) -> str:
        sizes = "-".join(f"{axis}{length}" for axis, length in self.lengths.items())
        again = f"-draw{self.draw}" if self.draw else ""
        return f"{sizes or 'step'}-b{self.batch}-{self.padding}{again}"

    @property
    def padding(self) -> str:
        """The raggedness and the kind of rows as one word; ``none`` where nothing is padded."""
        return "-".join([self.raggedness, *([] if self.rows is RowLengths.FIRST else [self.rows])])

    @property
    def longest(self) -> int:
        """The largest of its lengths; 1 where it has none."""
        return max(self.lengths.values(), default=1)


@dataclass(frozen=True)
class GoldenCase:
    """A case with its inputs and the oracle's float64 outputs.

    ``outputs`` hold only ``steps`` of the time axis where that is not None. ``noise_floor``
    is, for each output, the largest absolute error of the framework's own float32 runs at
    these lengths, ``scale`` its largest computed value at lengths like these, ``expected_error``
    how far the expected output itself may be from the exact one: 0 where it is not named.
    ``band_floors`` has, for outputs whose errors were recorded by magnitude, the noise floor of a
    value in each of ``core.bands``' bands; ``projections`` the ``core.projection.Projection`` of
    outputs of which only some steps are held; ``operator_error`` how far the errors of a runtime's
    operators move each value, where that is known.
    """

    case: Case
    inputs: Arrays
    outputs: Arrays
    steps: Array | None
    noise_floor: Mapping[str, float]
    scale: Mapping[str, float] = field(default_factory=dict)
    expected_error: Mapping[str, float] = field(default_factory=dict)
    band_floors: Mapping[str, Array] = field(default_factory=dict)
    projections: Mapping[str, Any] = field(default_factory=dict)
    operator_error: Mapping[str, Array] = field(default_factory=dict)


class Session(Protocol):
    """A model loaded in a runtime, ready to run any number of cases."""

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Return one case's outputs in the graph's order, duplicates included."""

    def evidence(self) -> dict[str, Any]:
        """Return what is known of where and how it ran; called once, after the last case."""


def causal_mask(shape: tuple[int, ...], marks: tuple[float, float], dtype: str) -> Array:
    """Return a mask of queries, the last axis but one, and keys, of which the last is its own.

    It holds the first of ``marks`` where a query sees a key, the second where the key is later.
    """
    queries, keys = shape[-2:]
    seen = np.tri(queries, keys, keys - queries, dtype=bool)
    values = np.where(seen, *(np.asarray(mark).astype(dtype) for mark in marks))
    return np.broadcast_to(values, shape).copy()


Progress = Callable[[str], None]


def lengths_text(lengths: Lengths) -> str:
    return ", ".join(f"{axis}={length}" for axis, length in lengths.items()) or "one step"


def case_text(case: Case) -> str:
    """Return a case for a sentence: its lengths, its batch and its padding, if it has any."""
    kind = "" if case.rows is RowLengths.FIRST else f", rows {case.rows.value}"
    ragged = "" if case.raggedness is Raggedness.NONE else f", {case.raggedness.value}{kind}"
    return f"{lengths_text(case.lengths)}, batch={case.batch}{ragged}"


class Runtime(Protocol):
    """Something that runs ONNX; ``check`` and ``version`` are cheap and start nothing."""

    def check(self) -> str | None:
        """Return None where the runtime is available here, else why not and what installs it."""

    def version(self) -> str:
        """Return the version of its library."""

    def prepare(self, path: str) -> Session:
        """Load the model file; LoadError says why it cannot be."""
