"""The form of a golden's manifest, held strictly: a manifest may come from anybody."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct

from harness.core import bands
from harness.core.axis_rules import AxisRule
from harness.core.errors import UsageError
from harness.core.names import check_path_part, check_printable
from harness.core.schema import (
    Axis,
    Case,
    ModelSpec,
    PaddedSteps,
    Raggedness,
    RowLengths,
    TensorSpec,
)
from harness.goldens.formulas import MOST_ENDS, MOST_PERMUTED
from harness.typed_json import typed

WEIGHTS = "weights.safetensors"
INPUT_BYTES = 2**28
"""The largest input, which a formula of a few bytes makes."""
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
Size = Annotated[int, Meta(ge=0, le=2**40)]
Count = Annotated[int, Meta(ge=1, le=2**40)]
Seed = Annotated[int, Meta(ge=0, le=2**62)]
Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Noise = Annotated[float, Meta(ge=0)]
Band = Annotated[int, Meta(ge=bands.LOWEST, le=bands.HIGHEST)]
Positive = Annotated[float, Meta(gt=0)]
Dtype = Literal[DTYPES]  # type: ignore[valid-type]
Number = bool | int | float


class Formula(Struct, forbid_unknown_fields=True):
    """What ``goldens.formulas.evaluate`` takes."""

    constant: Number | None = None
    each: list[Number] | None = None
    valid: bool = False
    seed: Seed | None = None
    low: float | None = None
    high: float | None = None
    normal: bool = False
    whole: bool = False
    counts: list[Size] | None = None
    raggedness: Raggedness | None = None
    padding: float = 0
    places: Seed | None = None
    permuted: Seed | None = None
    first: Seed = 0
    ends: Annotated[list[float], Meta(min_length=1, max_length=MOST_ENDS)] | None = None
    runs: bool = False
    spread: Literal["bands", "corners"] | None = None
    marks: tuple[float, float] | None = None
    causal: bool = False
    time_first: bool = False
    nan: bool = False

    def refusal(self, batch: int) -> str:
        """Return what is wrong with the formula of an input; empty where nothing is."""
        if self.constant is not None or self.each is not None:
            return ""
        if self.causal:
            return ""
        if self.seed is None:
            return "its formula has no constant, no values and no seed"
        if not self.valid and not (None not in (self.low, self.high) and self.low < self.high):  # type: ignore[operator]
            return "its formula has no range whose low is below its high"
        if (self.counts is None) != (self.raggedness is None) or (self.valid and not self.counts):
            return "its formula has counts without raggedness, or raggedness without counts"
        if self.permuted is not None and not self.valid and not self._counts_values():
            return f"its formula permutes a range that is not of 1 to {MOST_PERMUTED} integers"
        if self.counts is not None and len(self.counts) != batch:
            return f"its formula has {len(self.counts)} counts; the batch is {batch}"
        return ""

    def _counts_values(self) -> bool:
        assert self.low is not None
        assert self.high is not None
        whole = self.low.is_integer() and self.high.is_integer()
        return whole and self.high - self.low <= MOST_PERMUTED


class Input(Struct, forbid_unknown_fields=True):
    sha256: Hash
    formula: Formula


class Output(Struct, forbid_unknown_fields=True):
    """An output; each of ``bands`` is a band, the number of its values and their noise."""

    sha256: Hash
    noise: Noise
    bands: list[tuple[Band, Size, Noise]] = []


class Projected(Struct, forbid_unknown_fields=True):
    """The sums of an output's values at every step (``core.projection``)."""

    sha256: Hash
    squash: Positive
    noise: Noise


class Entry(Struct, forbid_unknown_fields=True, dict=True):
    """A case; ``steps`` are those of the time axis that the golden holds, None for all."""

    lengths: dict[str, Size]
    batch: Count
    raggedness: Raggedness
    steps: list[Size] | None
    inputs: dict[str, Input]
    outputs: dict[str, Output]
    draw: Size = 0
    projections: dict[str, Projected] = {}
    rows: RowLengths = RowLengths.FIRST

    @cached_property
    def case(self) -> Case:
        return Case(self.lengths, self.batch, self.raggedness, draw=self.draw, rows=self.rows)


class Uncompared(Struct, forbid_unknown_fields=True):
    """A case that was planned and that the model runs, but of which a comparison means nothing."""

    lengths: dict[str, Size]
    batch: Count
    raggedness: Raggedness
    draw: Size = 0
    rows: RowLengths = RowLengths.FIRST


class Tensor(Struct, forbid_unknown_fields=True):
    name: str
    dtype: Dtype
    axes: list[str | Size]
    low: float = -1.0
    high: float = 1.0
    normal: bool = False
    whole: bool = False
    nan: bool = False

    @property
    def spec(self) -> TensorSpec:
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        axes: tuple[Axis, ...] = tuple(self.axes)
        return TensorSpec(**{**fields, "axes": axes})


class Rule(Struct, forbid_unknown_fields=True):
    multiple: Count = 1
    least: Size = 1
    most: Count | None = None
    terms: dict[str, Count] = {}
    plus: Size = 0
    divisor: Count = 1

    @property
    def rule(self) -> AxisRule:
        return AxisRule(**{name: getattr(self, name) for name in self.__struct_fields__})


class Specification(Struct, forbid_unknown_fields=True):
    """A ModelSpec. The module that older manifests name as ``package`` is never imported."""

    name: str
    summary: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    weights: str
    padded: str | None = None
    padded_steps: dict[str, PaddedSteps] = {}
    lengths: dict[str, str] = {}
    frameworks: tuple[str, ...] = ("keras", "torch")
    states: dict[str, str] = {}
    padding: float = 0
    masks: dict[str, str] = {}
    never_empty: bool = False
    valid_only: bool = False
    unchanged: tuple[Raggedness, ...] | None = None
    also_padded: dict[str, float] = {}
    marks: dict[str, tuple[float, float]] = {}
    rules: dict[str, Rule] = {}
    causal: dict[str, tuple[float, float]] = {}
    package: str = ""

    @property
    def spec(self) -> ModelSpec:
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "package"}
        fields["rules"] = {axis: rule.rule for axis, rule in self.rules.items()}
        for kind in ("inputs", "outputs"):
            fields[kind] = tuple(tensor.spec for tensor in fields[kind])
        return ModelSpec(**fields)


class Weights(Struct, forbid_unknown_fields=True):
    file: str
    tensors: dict[str, Hash]


class GoldenManifest(Struct):
    """What is read of a manifest; what else there is says where the golden comes from."""

    schema: Literal[1]
    framework: str
    spec: Specification
    weights: Weights
    stored: list[str]
    cases: Annotated[list[Entry], Meta(min_length=1)]
    float32_runs: Count = 1
    coverage: dict[str, tuple[Size, Count]] = {}
    uncompared: list[Uncompared] = []


def shared_weights(spec: ModelSpec, framework: str) -> str:
    """Return the file of the golden that has a model's weights, from the model's own golden."""
    return f"../../{spec.weights}/{framework}/{WEIGHTS}"


def checked(manifest: Mapping[str, Any], what: str) -> GoldenManifest:
    """Return a manifest by its form; UsageError, which begins with ``what``, for any other."""
    form = typed(manifest, GoldenManifest, what)
    spec = form.spec.spec
    _check_spec(spec, what)
    check_path_part(form.framework, f"{what}: framework")
    files = (WEIGHTS, shared_weights(spec, form.framework))
    if form.weights.file not in files:
        raise UsageError(
            f"{what}: weights.file is {form.weights.file!r}; expected {' or '.join(files)}"
        )
    ids = set()
    for number, entry in enumerate(form.cases):
        place = f"{what}: cases[{number}]"
        for problem in _problems(spec, entry):
            raise UsageError(f"{place}: {problem}")
        if entry.case.id in ids:
            raise UsageError(f"{place}: the case {entry.case.id} is there twice")
        ids.add(entry.case.id)
    for number, left_out in enumerate(form.uncompared):
        if {*left_out.lengths} != {*spec.axes}:
            raise UsageError(
                f"{what}: uncompared[{number}]: lengths of {', '.join(left_out.lengths)}; expected"
                f" {list(spec.axes)}"
            )
    return form


def _check_spec(spec: ModelSpec, what: str) -> None:
    for field, name in (("name", spec.name), ("weights", spec.weights)):
        check_path_part(name, f"{what}: spec.{field}")
    for framework in (*spec.frameworks, *spec.padded_steps):
        check_path_part(framework, f"{what}: spec.frameworks")
    for axis in spec.axes:
        check_path_part(axis, f"{what}: an axis")
    names: dict[str, list[str]] = {
        "inputs": [tensor.name for tensor in spec.inputs],
        "outputs": [tensor.name for tensor in spec.outputs],
        "axes": list(spec.axes),
    }
    for kind in ("inputs", "outputs"):
        for name in names[kind]:
            check_printable(name, f"{what}: a name among spec.{kind}")
        if len(set(names[kind])) != len(names[kind]) or not names["outputs"]:
            raise UsageError(f"{what}: spec.{kind} are {names[kind]}; expected names, each once")
    links: tuple[tuple[str, str, list[str | None], list[str]], ...] = (
        ("padded", "inputs", [spec.padded] if spec.padded else [], names["inputs"]),
        ("also_padded", "inputs", [*spec.also_padded], names["inputs"]),
        ("marks", "inputs", [*spec.marks], [*spec.masks]),
        ("causal", "inputs", [*spec.causal], names["inputs"]),
        ("rules", "axes", [*spec.rules, *_terms(spec)], names["axes"]),
        ("masks", "inputs", [*spec.masks], names["inputs"]),
        ("masks", "axes", [*spec.masks.values()], names["axes"]),
        ("lengths", "inputs", [*spec.lengths], names["inputs"]),
        ("lengths", "axes", [*spec.lengths.values()], names["axes"]),
        ("states", "inputs", [*spec.states], names["inputs"]),
        ("states", "outputs", [*spec.states.values()], names["outputs"]),
    )
    for field, kind, used, known in links:
        if unknown := [name for name in used if name not in known]:
            raise UsageError(
                f"{what}: spec.{field} has {unknown[0]!r}; the {kind} are {', '.join(known)}"
            )


def _terms(spec: ModelSpec) -> list[str | None]:
    return [term for rule in spec.rules.values() for term in rule.terms]


def _problems(spec: ModelSpec, entry: Entry) -> Iterator[str]:
    """Yield what is wrong with a case of a model, in words that follow its place."""
    if [*entry.lengths] != [*spec.axes] and {*entry.lengths} != {*spec.axes}:
        yield f"lengths of {', '.join(entry.lengths) or 'nothing'}; expected {list(spec.axes)}"
    for kind, given, tensors in (
        ("inputs", entry.inputs, spec.inputs),
        ("outputs", entry.outputs, spec.outputs),
    ):
        if {*given} != {tensor.name for tensor in tensors}:
            expected = ", ".join(tensor.name for tensor in tensors)
            yield f"{kind} {', '.join(given) or 'none'}; expected {expected}"
    for tensor in spec.inputs:
        shape = tensor.shape(entry.batch, entry.lengths)
        size = math.prod(shape) * np.dtype(tensor.dtype).itemsize
        if size > INPUT_BYTES:
            yield f"input {tensor.name} of {size:,} bytes; at most {INPUT_BYTES:,} are allowed"
        formula = entry.inputs[tensor.name].formula
        needs_steps = {
            "counts": formula.counts is not None,
            "runs": formula.runs,
            "time first": formula.time_first,
            "causal": formula.causal,
        }
        for what in [w for w, is_so in {**needs_steps, "nan": formula.nan}.items() if is_so]:
            if len(shape) < 2:
                yield f"input {tensor.name}: its formula has {what}, but there is no axis of steps"
        if formula.nan and np.dtype(tensor.dtype).kind != "f":
            yield f"input {tensor.name}: its formula has NaN; it is {tensor.dtype}"
        if problem := formula.refusal(entry.batch):
            yield f"input {tensor.name}: {problem}"
    for tensor in spec.outputs:
        about, exact = entry.outputs[tensor.name], np.dtype(tensor.dtype).kind != "f"
        projected = entry.projections.get(tensor.name)
        if exact and (about.noise or about.bands or (projected and projected.noise)):
            yield f"output {tensor.name} has noise; it is {tensor.dtype} and has to be exact"
        if any(noise > about.noise for _, _, noise in about.bands):
            yield f"output {tensor.name} has a band with more noise than the whole"
    along = [tensor.name for tensor in spec.outputs if tensor.step_axis is not None]
    if unknown := [name for name in entry.projections if name not in along]:
        yield f"a projection of {unknown[0]}; outputs with steps are {', '.join(along) or 'none'}"
    if entry.steps is not None:
        yield from _step_problems(spec, entry, entry.steps)


def _step_problems(spec: ModelSpec, entry: Entry, steps: list[int]) -> Iterator[str]:
    sizes = [
        tensor.shape(entry.batch, entry.lengths)[tensor.step_axis]
        for tensor in spec.outputs
        if tensor.step_axis is not None
    ]
    if not steps:
        yield "steps are []; nothing would be compared"
    if any(later <= earlier for earlier, later in pairwise(steps)):
        yield "steps do not ascend"
    if steps and sizes and steps[-1] >= min(sizes):
        yield f"step {steps[-1]}; an output has only {min(sizes)}"
