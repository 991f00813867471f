"""Whether a written ``model.onnx`` gives what its framework gives in float64, told by other means.

Neither goldens, nor the oracle, nor the comparison of the harness take part: inputs are drawn from
the user's description, the graph runs in ONNX Runtime, the model itself in float64, and NumPy
compares. The bound is coarse. It is for what is wrong, such as a length that is baked in, a mask
that is ignored or another direction; rounding is what the harness measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from ci.architectures import eager_inputs
from ci.architectures.eager_inputs import BATCH, BATCHES, LENGTHS, Array, Arrays, Said, Sizes, Valid
from harness.subjects.description import ModelDescription

BOUND = 1e-4
"""Of a value's size and the output's usual one: a thousand float32 roundings of half an ulp, 6e-8,
one upon the other, with something to spare.
"""
OPERATORS = {"DFT": 1e-3}
"""The bound where ONNX Runtime itself errs by more: its DFT rounds the angles of lengths that are
no power of two, which gives 3e-4 at 160 steps.
"""
LEAST = 3e-3
"""The least that the usual size is taken to be: ONNX Runtime's Sigmoid is 2e-7 off, however small
its values are.
"""
DROWNED = 10
"""How many times further than the model itself in float32 a graph may be beyond its bound."""
UNPROMISED = {
    "empty": "rows without a valid step: ",
    "left": "padding left: ",
    "gapped": "padding gapped: ",
}
"""How a bundle says that it makes no promise of a kind of padding; of padded steps, ``PADDED``."""
PADDED = " padded steps of "
SHOWN = 160
"""Characters of what another's code raises."""
Outputs = list[tuple[str, Array]]
"""Each with the name that the model has for it, or ``""``."""


@dataclass(frozen=True)
class Model:
    """The model itself, in float64 and in float32; ``said`` is what it says of its inputs."""

    exact: Callable[[Arrays], Outputs]
    narrow: Callable[[Arrays], Outputs]
    said: Said


@dataclass
class Agreement:
    """``lengths`` is the number of sizes at which something was compared, ``worst`` the largest
    difference that is not ``drowned``: beyond the bound, but not by far from what the model itself
    does in float32. ``refused`` are cases that the model itself does not take, ``unpromised`` ones
    that differ where the bundle says that it makes no promise.
    """

    lengths: int = 0
    comparisons: int = 0
    worst: float = 0.0
    refused: list[str] = field(default_factory=list)
    drowned: list[str] = field(default_factory=list)
    unpromised: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, float | str]:
        """Return what a file of outcomes holds: of cases their number, and the first."""
        lists = {name: value for name, value in vars(self).items() if isinstance(value, list)}
        first = {f"first_{name}": cases[0] for name, cases in lists.items() if cases}
        return {**vars(self), **{name: len(cases) for name, cases in lists.items()}, **first}


def agreement(
    path: Path,
    model: Model,
    description: ModelDescription,
    told: Sequence[str] = (),
    lengths: Sequence[int] = LENGTHS,
) -> Agreement:
    """Return how a graph agrees with its model at as many lengths, every batch and padding.

    ``told`` are the lines in which its bundle says what it does not compare.
    """
    check = Check(path, model, description, told)
    for sizes in eager_inputs.sizes(check.inputs, check.rules, lengths):
        if check.found.lengths < len(lengths):
            check.at(sizes)
    if not check.found.comparisons and not check.found.wrong:
        check.found.wrong.append(f"nothing compared: {check.found.refused[0]}")
    return check.found


class Check:
    """A graph and its model, with what was found so far."""

    def __init__(
        self, path: Path, model: Model, description: ModelDescription, told: Sequence[str] = ()
    ) -> None:
        self.model, self.found = model, Agreement()
        self.graph = onnx.load(path).graph
        self.bound = max([BOUND, *(OPERATORS.get(n.op_type, 0.0) for n in self.graph.node)])
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        self.session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        self.rng = np.random.default_rng(0)
        self.rules = eager_inputs.rules_of(description)
        self.inputs = eager_inputs.inputs_of(self.graph, model.said, description)
        self.valid_only = any(one.described.valid_only for one in self.inputs) or any(
            PADDED in line for line in told
        )
        self.unpromised = [
            kind
            for kind, words in UNPROMISED.items()
            if any(line.startswith(words) for line in told)
        ]

    def at(self, lengths: Sizes) -> None:
        """Compare every batch and padding at a length of each axis."""
        before = self.found.comparisons
        at = ", ".join(f"{axis}={size}" for axis, size in lengths.items())
        batches = BATCHES if any(BATCH in one.axes for one in self.inputs) else (1,)
        for batch in batches:
            sizes = {BATCH: batch, **lengths}
            for kind, valid in eager_inputs.paddings(self.inputs, batch, lengths, self.rng):
                values = {
                    one.described.name: eager_inputs.values(one, sizes, valid, self.rng)
                    for one in self.inputs
                }
                self.compare(values, valid, f"{at} batch={batch} {kind}".strip())
        self.found.lengths += self.found.comparisons > before

    def compare(self, values: Arrays, valid: Valid, where: str) -> None:
        """Compare every output for these inputs."""
        try:
            expected = self.model.exact(values)
        except Exception as error:  # of the model's own code
            self.found.refused.append(f"{where}: {_said(error)}")
            return
        outputs = [value.name for value in self.graph.output]
        names = [value.name for value in self.graph.input]
        try:
            given = self.session.run(outputs, {name: values[name] for name in names})
        except Exception as error:  # of the graph
            self.found.wrong.append(f"{where}: does not run: {_said(error)}")
            return
        if len(given) != len(expected):
            self.found.wrong.append(f"{where}: {len(given)} outputs, the model {len(expected)}")
            return
        rights = _named(expected, outputs)
        for place, name in enumerate(outputs):
            self.found.comparisons += 1
            kept = self._kept(self.graph.output[place], valid)
            apart = distance(given[place], rights[name], kept)
            if apart > self.bound:
                narrow = _named(self.model.narrow(values), outputs)[name]
                float32 = distance(narrow, rights[name], kept)
                if apart <= DROWNED * float32 < np.inf:
                    self.found.drowned.append(f"{where}: {name} {apart:.1e}, float32 {float32:.1e}")
                    continue
                shapes = f"{given[place].shape} for {rights[name].shape}"
                line = f"{where}: {name} {shapes}, {apart:.1e} apart"
                if where.endswith(tuple(self.unpromised)):
                    self.found.unpromised.append(line)
                    continue
                self.found.wrong.append(line)
            self.found.worst = max(self.found.worst, apart)

    def _kept(self, output: onnx.ValueInfoProto, valid: Valid) -> Array | None:
        """Return which places of an output mean something; None for all."""
        axes = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim]
        kept = None
        for axis in valid if self.valid_only and BATCH in axes else ():
            if axis in axes:
                rows = eager_inputs.along(valid[axis], axes, axis)
                kept = rows if kept is None else kept & rows
        return kept


def distance(given: Array, right: Array, kept: Array | None = None) -> float:
    """Return the largest difference, of ``right``'s size and the usual one of its values.

    Of integers it is the part that differs. It is infinite for another shape or kind of dtype, and
    where one is not finite and the other something else.
    """
    if given.shape != right.shape or given.dtype.kind != right.dtype.kind:
        return np.inf
    if kept is not None:
        places = np.broadcast_to(kept, right.shape)
        given, right = given[places], right[places]
    if right.dtype.kind != "f":
        return float((given != right).mean()) if right.size else 0.0
    finite = np.isfinite(right)
    if not np.array_equal(given[~finite], right[~finite], equal_nan=True):
        return np.inf
    given, right = given[finite].astype(np.float64), right[finite]
    if not np.isfinite(given).all():
        return np.inf
    sizes = np.abs(right)
    usual = max(np.median(sizes[sizes > 0]) if sizes.any() else 0.0, LEAST)
    return float((np.abs(given - right) / (sizes + usual)).max(initial=0.0))


def _named(values: Outputs, names: Sequence[str]) -> Arrays:
    """Return outputs by the graph's names: by their own where they have these, else by place."""
    own = dict(values)
    if {*own} == {*names}:
        return own
    return {name: value for name, (_, value) in zip(names, values, strict=True)}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:SHOWN]
