"""The specification of a user model, found by running it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from harness.core import places
from harness.core.errors import HarnessError, StageError, UsageError, one_line
from harness.core.places import at
from harness.core.schema import (
    BATCH,
    Array,
    Arrays,
    Case,
    Lengths,
    ModelSpec,
    Raggedness,
    TensorSpec,
    lengths_text,
)
from harness.recording import cases
from harness.recording.output_axes import Outputs
from harness.recording.output_axes import outputs as outputs_of
from harness.subjects.describe import complete
from harness.subjects.description import InputDescription, ModelDescription
from reference_models.cases import drawn

LENGTHS = (13, 128, 7, 64, 32, 16, 17)
"""The first two are far apart, so that what grows slowly with a length differs between them."""
FAR = 4
"""Lengths are far apart where one is this many times the other."""
BATCHES = ((3, 4), (5, 6))
_OF_TUPLES = re.compile(r"\b(hx|cx|tuple|unpack|hidden)\b", re.IGNORECASE)
"""What errors speak of where a tensor is given in place of a tuple."""


class UserModel(Protocol):
    """A user model of any framework; one in an ONNX file has ``measure`` instead of ``move``."""

    framework: str

    @property
    def class_name(self) -> str: ...

    @property
    def model(self) -> Any:
        """The model as an exporter takes it."""

    def inputs(self) -> list[InputDescription]:
        """Return what the model itself says of its inputs."""

    def arrange(self, names: Sequence[str]) -> list[str]:
        """Return the names in the model's order, which ``run`` then uses."""

    def run(self, inputs: Arrays, wide: bool) -> Outputs:
        """Return the outputs in order, named or ``""``; float64 where ``wide``."""

    def parameters(self) -> Arrays:
        """Return the initial weights by name."""

    def move(self, change: Callable[[Arrays], Arrays]) -> None:
        """Set the float32 weights to ``change(initial ones)``; those in float64 stay."""


class RefusedError(Exception):
    """The model raises at these sizes; the text is that of its error.

    ``place`` is where, as ``at`` has it, for a message alone: a golden holds no path of a user's.
    """

    def __init__(self, text: str, place: str = "") -> None:
        super().__init__(text)
        self.place = place


def specification(
    model: UserModel,
    description: ModelDescription,
    name: str,
    lengths: Sequence[int],
    batches: Sequence[int],
) -> ModelSpec:
    """Return the inputs as described and inferred, and the outputs as probed at two sizes.

    ``lengths`` and ``batches`` are tried where the usual ones do not run. UsageError where an input
    lacks a description, where the model refuses every size or an end of a range, or where outputs
    are not named as the description has it.
    """
    by_name = {described.name: described for described in _inputs(model, description)}
    inputs = [by_name[name] for name in model.arrange(list(by_name))]
    tensors = tuple(map(_tensor, inputs))
    padded = [described for described in inputs if described.padding is not None]
    spec = ModelSpec(
        name,
        f"{model.class_name}, a model of the user's own",
        tensors,
        (),
        name,
        padded=padded[0].name if padded else None,
        padding=padded[0].padding or 0 if padded else 0,
        also_padded={d.name: d.padding or 0 for d in padded[1:]},
        marks={d.name: d.marks for d in inputs if d.marks and d.mask_of},
        causal={d.name: d.causal for d in inputs if d.causal},
        rules={**{a: r for d in inputs for a, r in d.rules.items()}, **description.rules},
        lengths={d.name: d.lengths_of for d in inputs if d.lengths_of},
        masks={d.name: d.mask_of for d in inputs if d.mask_of},
        frameworks=(model.framework,),
        never_empty=any(d.never_empty for d in inputs),
        valid_only=any(d.valid_only for d in inputs),
    )
    _check(spec, padded, bool(description.states))
    _check_lengths(spec, lengths)
    first, second = _probes(model, spec, lengths, batches)
    _at_bounds(model, spec, first[0])
    _check_marks(model, spec, first[0])
    try:
        outputs = outputs_of(first, second, description.outputs, by_name)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    for length, axis in spec.lengths.items():
        if axis not in replace(spec, outputs=outputs).axes:
            raise UsageError(
                f"input {length!r}: no input or output has an axis {axis} as long as it"
            )
    states = dict(description.states)
    input_names, output_names = sorted(by_name), sorted(t.name for t in outputs)
    for entering, leaving in states.items():
        if entering not in input_names or leaving not in output_names:
            raise UsageError(
                f"states: {entering} = {leaving} is no input and output of the model; inputs:"
                f" {', '.join(input_names)}; outputs: {', '.join(output_names)}"
            )
    return replace(spec, outputs=outputs, states=states)


def run(model: UserModel, inputs: Arrays, wide: bool) -> Outputs:
    """Return the model's outputs; RefusedError where it raises."""
    try:
        return model.run(inputs, wide)
    except StageError as error:
        raise RefusedError(str(error)) from error
    except HarnessError:
        raise
    except Exception as error:
        text = re.sub(r"\{\{.*?\}\}\s*", "", one_line(error))
        raise RefusedError(text, at(places.of_error(error))) from error


def _inputs(model: UserModel, description: ModelDescription) -> list[InputDescription]:
    """Return the inputs as described, completed by what the model says of them."""
    described = {d.name: d for d in description.inputs}
    if len(described) < len(description.inputs):
        raise UsageError("an input is described twice")
    inferred = {d.name: d for d in model.inputs()}
    merged = {n: described[n].over(d) if n in described else d for n, d in inferred.items()}
    whole = {n for n in inferred if n not in described and _parts(n, described)}
    merged = {n: d for n, d in merged.items() if n not in whole}
    merged = merged | {n: d for n, d in described.items() if n not in inferred}
    if not merged:
        raise UsageError("the model says nothing of its inputs; describe them: --input TEXT")
    model.arrange(list(merged))
    own = [n for n, d in described.items() if d.padding is not None]
    kept = [d if n in own else _of_window(d) for n, d in merged.items()]
    return [complete(d, len(merged) == 1) for d in kept]


def _of_window(described: InputDescription) -> InputDescription:
    """Return an input without inferred padding where its steps are of a fixed number."""
    steps = (described.axes or ())[1:2]
    return replace(described, padding=None) if steps and isinstance(steps[0], int) else described


def shapes(spec: ModelSpec) -> str:
    """Return the inputs with their axes, for a sentence."""
    return ", ".join(f"{t.name}[{', '.join(map(str, t.axes))}]" for t in spec.inputs)


def _parts(name: str, described: Collection[str]) -> list[str]:
    """Return the inputs that are described as parts of one that is a tuple or dictionary."""
    return [other for other in described if other.startswith(f"{name}.")]


def _tensor(described: InputDescription) -> TensorSpec:
    d = described
    assert d.dtype is not None
    assert d.low is not None
    assert d.high is not None
    axes = tuple(axis for axis in d.axes or () if axis is not None)
    return TensorSpec(d.name, d.dtype, axes, d.low, d.high, d.normal, d.whole, d.nan)


def _check(spec: ModelSpec, padded: Sequence[InputDescription], step: bool) -> None:
    """Raise UsageError where a mask, a length or padding is of an axis that the model lacks.

    A ``step``, a model with states, needs no sequence axis: its sequence is one of calls. Nor does
    a window of a fixed number of steps, whose batch varies.
    """
    batched = any(BATCH in tensor.axes for tensor in spec.inputs)
    if not spec.axes and not spec.lengths and not step and not batched:
        raise UsageError(
            f"no input has an axis that varies: {shapes(spec)}; expected one, as in [batch,"
            " time] or [batch, 24, 1], or [states] in the TOML file, which pair an input with the"
            " output that is its next"
        )
    free = [axis for axis in spec.axes if axis not in spec.rules or not spec.rules[axis].terms]
    for axis, rule in spec.rules.items():
        known = rule.terms or axis in [*spec.axes, *spec.lengths.values()]
        if odd := [term for term in rule.terms if term not in free] or [axis] * (not known):
            raise UsageError(
                f"axis {axis!r}: {odd[0]!r} is no sequence axis of an input or follows from others;"
                f" choose from: {', '.join(free)}"
            )
    for kind, named in (("mask", spec.masks), ("lengths", spec.lengths)):
        for name, axis in named.items():
            alone = kind == "lengths" and all(
                t.axes in ((), (1,)) for t in spec.inputs if t.name == name
            )
            if axis not in spec.axes and not alone:
                raise UsageError(
                    f"input {name!r}: {kind} of {axis}, but the sequence axes are:"
                    f" {', '.join(spec.axes)}"
                )
    for tensor in spec.inputs:
        mask = spec.masks.get(tensor.name)
        if mask and tensor.axes not in ((BATCH, mask), (mask, BATCH)):
            raise UsageError(
                f"input {tensor.name!r}: a mask has axes [batch, sequence axis] or [sequence axis,"
                " batch]"
            )
        if tensor.name in spec.lengths and tensor.axes not in ((), (1,), (BATCH,)):
            raise UsageError(f"input {tensor.name!r}: lengths have axes [batch], [1] or []")
    if (spec.never_empty or spec.valid_only) and spec.ragged is None:
        word = "never empty" if spec.never_empty else "valid steps only"
        raise UsageError(f"{word!r} is for a model with padding, a mask or lengths of rows")
    for described in padded:
        axes = described.axes or ()
        pair = [axis for axis in axes[:2] if isinstance(axis, str)]
        if len(pair) < 2 or BATCH not in pair:
            raise UsageError(
                f"input {described.name!r}: padding needs axes [batch, sequence axis, …] or"
                " [sequence axis, batch, …]; with the words 'no padding' it has none"
            )


def _check_lengths(spec: ModelSpec, lengths: Sequence[int]) -> None:
    """Raise UsageError where a length that a user gave follows no axis' described rule."""
    free = cases.free_axes(spec)
    if not free or tuple(lengths) == cases.LENGTHS or any(axis not in spec.rules for axis in free):
        return
    rules = {axis: spec.rules[axis] for axis in free}
    if odd := [n for n in lengths if not any(rule.holds(n) for rule in rules.values())]:
        ways = [
            f"{axis}: {rule.words}, which has {' and '.join(map(str, rule.near(odd[0])))}"
            for axis, rule in rules.items()
        ]
        raise UsageError(
            f"--lengths has {odd[0]}, which is not what is described: {'; '.join(ways)} nearby"
        )


def _probes(
    model: UserModel, spec: ModelSpec, lengths: Sequence[int], batches: Sequence[int]
) -> list[tuple[Case, Outputs]]:
    """Return the outputs at two sizes that differ in every axis, or in fewer if none such run."""
    given = _apart(lengths)
    first = given if len(given) > 1 and given[1] >= FAR * given[0] > FAR else []
    order = list(dict.fromkeys([*first, *LENGTHS, *given]))
    axes = cases.free_axes(spec)
    orders = {a: spec.rules[a].lengths(order) if a in spec.rules else order for a in axes}
    candidates: list[Lengths] = [
        spec.fitted(
            {a: own[(n + 3 * place) % len(own)] for place, (a, own) in enumerate(orders.items())}
        )
        for n in range(len(order))
    ]
    candidates = [c for n, c in enumerate(candidates) if c not in candidates[:n]]
    probes: list[tuple[Case, Outputs]] = []
    errors: list[str] = []
    for sizes in candidates:
        probes += _probe(model, spec, sizes, BATCHES[len(probes)], errors)
        if len(probes) == 2:
            return probes
    for sizes in [probes[0][0].lengths] if probes else candidates:
        probes += _probe(model, spec, sizes, BATCHES[1] if probes else tuple(batches), errors)
    if not probes:
        hints = [
            "; name an axis that inputs share alike in each: [batch, time]" * (len(axes) > 1),
            "; describe the parts of an argument that is a tuple: 'hidden.0: …', 'hidden.1: …'"
            * bool(_OF_TUPLES.search(errors[0])),
        ]
        raise UsageError(f"the model itself does not run at {errors[0]}{''.join(hints)}")
    return [probes[0], probes[-1]]


def _check_marks(model: UserModel, spec: ModelSpec, case: Case) -> None:
    """Raise UsageError where the model reads the steps alone that a mask says are padded."""
    seed = 0
    values = drawn(spec, case, seed)[1]
    for mask, axis in spec.masks.items():
        valid = spec.valid_steps(values, axis)
        if mask in spec.causal or valid is None or valid.all() or not valid.any(axis=1).all():
            continue
        moved = [_moved(spec, case, values, axis, where) for where in (valid, ~valid)]
        try:
            before, *after = [run(model, inputs, wide=False) for inputs in (values, *moved)]
        except RefusedError:
            continue
        same = [
            all(
                np.array_equal(a, b, equal_nan=True)
                for (_, a), (_, b) in zip(before, o, strict=True)
            )
            for o in after
        ]
        if same == [True, False]:
            word = "mask of" if mask in spec.marks else "padding mask of"
            raise UsageError(
                f"input {mask!r}: the model reads the steps that it marks as padded, and none that"
                f" it marks as valid; expected '{word} {axis}'"
            )


def _moved(spec: ModelSpec, case: Case, values: Arrays, axis: str, where: Array) -> Arrays:
    """Return the inputs with other values at some steps of an axis, [batch, steps] bool."""
    other, moved = drawn(spec, case, 1)[1], dict(values)
    for tensor in spec.inputs:
        told = {*spec.masks, *spec.lengths, *spec.causal}
        if tensor.name not in told and {BATCH, axis} <= {*tensor.axes}:
            at = tensor.axes.index(BATCH), tensor.axes.index(axis)
            moved[tensor.name] = values[tensor.name].copy()
            rows = np.moveaxis(moved[tensor.name], at, (0, 1))
            rows[where] = np.moveaxis(other[tensor.name], at, (0, 1))[where]
    return moved


def _apart(lengths: Sequence[int]) -> list[int]:
    """Return the lengths that a user gave, those farthest apart first; none where they are default.

    One step is none of the first two where there are two others: it has no padding.
    """
    if tuple(lengths) == cases.LENGTHS:
        return []
    ascending = sorted(set(lengths) - {1}) if len(set(lengths) - {1}) > 1 else sorted(set(lengths))
    pairs = zip(ascending, reversed(ascending), strict=True)
    return list(dict.fromkeys(length for pair in pairs for length in pair))


def _probe(
    model: UserModel, spec: ModelSpec, sizes: Lengths, batches: Sequence[int], errors: list[str]
) -> list[tuple[Case, Outputs]]:
    """Return the outputs at these sizes, padded where it can be; none where the model refuses them.

    What it raises is added to ``errors``.
    """
    many = any(BATCH in tensor.axes for tensor in spec.inputs)
    batch = next((n for n in batches if n not in sizes.values()), batches[0]) if many else 1
    for kind in (Raggedness.RIGHT, Raggedness.NONE) if spec.ragged else (Raggedness.NONE,):
        case = Case(sizes, batch, kind)
        try:
            return [(case, run(model, drawn(spec, case, 0)[1], wide=False))]
        except RefusedError as error:
            errors.append(f"{lengths_text(sizes)}, batch={batch}: {error}{error.place}")
    return []


def _at_bounds(model: UserModel, spec: ModelSpec, case: Case) -> None:
    """Raise UsageError where the model refuses an end of an integer input's range, or its padding.

    A few draws of a range that is too large for a table could all lie within the table.
    """
    drawn_inputs = drawn(spec, replace(case, raggedness=Raggedness.NONE), 0)[1]
    for tensor in spec.inputs:
        whole = tensor.whole or np.dtype(tensor.dtype).kind in "iu"
        if not whole or tensor.name in {*spec.lengths, *spec.masks, *spec.causal}:
            continue
        value, low, high = drawn_inputs[tensor.name], tensor.low, tensor.high - 1
        at_bounds = {
            f"{bound:.0f}": {**drawn_inputs, tensor.name: np.full_like(value, bound)}
            for bound in (low, high)
        }
        axis = spec.padded_axis(tensor)
        if axis and case.lengths[axis] > 1:
            valid = np.ones((case.batch, case.lengths[axis]), bool)
            valid[:, -1] = False
            highest = spec.padded_outside(at_bounds[f"{high:.0f}"], valid, axis)
            at_bounds[f"its padding {spec.paddings[tensor.name]:g}"] = highest
        for text, inputs in at_bounds.items():
            try:
                run(model, inputs, wide=False)
            except RefusedError as error:
                raise UsageError(
                    f"input {tensor.name!r}: the model itself refuses {text}, described as within"
                    f" {low:.0f}..{high:.0f}: {error}{error.place}"
                ) from None
