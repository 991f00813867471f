"""What a model of one's own takes and gives: a specification, found by running it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from harness.core.errors import HarnessError, StageError, UsageError, one_line
from harness.core.schema import (
    BATCH,
    Arrays,
    Case,
    Lengths,
    ModelSpec,
    Raggedness,
    TensorSpec,
    lengths_text,
)
from harness.goldens.formulas import evaluate
from harness.recording.output_axes import Outputs
from harness.recording.output_axes import outputs as outputs_of
from harness.subjects.describe import complete
from harness.subjects.described import Described, Description
from reference_models import cases

LENGTHS = (13, 128, 7, 64, 32, 16, 17)
"""First two that are far apart, so that what grows slowly with a length grows between them."""
BATCHES = ((3, 4), (5, 6))


class UserModel(Protocol):
    """A model as its framework has it; ``harness.frameworks`` has one class for each."""

    framework: str

    @property
    def class_name(self) -> str: ...

    def inputs(self) -> list[Described]:
        """What the model itself says of its inputs."""

    def arrange(self, names: Sequence[str]) -> list[str]:
        """The names in the model's own order, which ``run`` then uses."""

    def run(self, inputs: Arrays, wide: bool) -> Outputs:
        """Outputs in order, by name where they have one, else ``""``; float64 where ``wide``."""


class RefusedError(Exception):
    """The model itself raises at these sizes; its text is what it says."""


def specification(
    own: UserModel, said: Description, name: str, lengths: Sequence[int], batches: Sequence[int]
) -> ModelSpec:
    """The model's inputs as described and inferred, and its outputs as probed at two sizes.

    ``lengths`` and ``batches`` are tried where the usual ones do not run. UsageError where an input
    lacks a description, where the model refuses every size or an end of a range, or where outputs
    are not named as the description has it.
    """
    inputs = _inputs(own, said)
    by_name = {one.name: one for one in inputs}
    inputs = [by_name[n] for n in own.arrange([one.name for one in inputs])]
    tensors = tuple(_tensor(one) for one in inputs)
    padded = [one for one in inputs if one.padding is not None]
    spec = ModelSpec(
        name,
        f"{own.class_name}, a model of the user's own",
        tensors,
        (),
        name,
        padded=padded[0].name if padded else None,
        padding=padded[0].padding or 0 if padded else 0,
        lengths={one.name: one.lengths_of for one in inputs if one.lengths_of},
        masks={one.name: one.mask_of for one in inputs if one.mask_of},
        frameworks=(own.framework,),
    )
    _check(spec, padded, bool(said.states))
    first, second = _probes(own, spec, lengths, batches)
    _at_bounds(own, spec, first[0])
    outputs = outputs_of(first, second, said.outputs, by_name)
    for length, axis in spec.lengths.items():
        if axis not in replace(spec, outputs=outputs).axes:
            raise UsageError(
                f"input {length!r}: no input or output has an axis {axis} as long as it"
            )
    states = dict(said.states)
    known = {t.name for t in tensors}, {t.name for t in outputs}
    for entering, leaving in states.items():
        if entering not in known[0] or leaving not in known[1]:
            raise UsageError(
                f"states: {entering} = {leaving} is no input and output of the model; inputs:"
                f" {', '.join(sorted(known[0]))}; outputs: {', '.join(sorted(known[1]))}"
            )
    return replace(spec, outputs=outputs, states=states)


def run(own: UserModel, inputs: Arrays, wide: bool) -> Outputs:
    """The model's outputs; RefusedError where it raises."""
    try:
        return own.run(inputs, wide)
    except StageError as error:
        raise RefusedError(str(error)) from error
    except HarnessError:
        raise
    except Exception as error:
        raise RefusedError(re.sub(r"\{\{.*?\}\}\s*", "", one_line(error))) from error


def drawn(spec: ModelSpec, case: Case, seed: int) -> tuple[Mapping[str, Any], Arrays]:
    """The formulas of a case's inputs and what they give."""
    formulas = cases.formulas(spec, case, seed)
    return formulas, {
        t.name: evaluate(formulas[t.name], t.shape(case.batch, case.lengths), t.dtype)
        for t in spec.inputs
    }


def _inputs(own: UserModel, said: Description) -> list[Described]:
    inferred = {one.name: one for one in own.inputs()}
    described = {one.name: one for one in said.inputs}
    if len(described) < len(said.inputs):
        raise UsageError("an input is described twice")
    merged = [described[n].over(one) if n in described else one for n, one in inferred.items()]
    merged += [one for n, one in described.items() if n not in inferred]
    if not merged:
        raise UsageError("the model says nothing of its inputs; describe them: --input TEXT")
    own.arrange([one.name for one in merged])
    return [complete(one, len(merged) == 1) for one in merged]


def _tensor(one: Described) -> TensorSpec:
    assert one.dtype is not None
    assert one.low is not None
    assert one.high is not None
    assert one.axes is not None
    axes = tuple(axis for axis in one.axes if axis is not None)
    return TensorSpec(one.name, one.dtype, axes, one.low, one.high, one.normal, one.whole)


def _check(spec: ModelSpec, padded: Sequence[Described], step: bool) -> None:
    """UsageError where a mask, a length or padding is of an axis that is not there.

    A ``step``, a model with states, needs no sequence axis: its sequence is one of calls.
    """
    if not spec.axes and not spec.lengths and not step:
        told = ", ".join(f"{t.name}[{', '.join(map(str, t.axes))}]" for t in spec.inputs)
        raise UsageError(
            f"no input has a sequence axis that varies: {told}; expected one, as in [batch, time],"
            " or [states] in the TOML file, which pair an input with the output that is its next"
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
        if tensor.name in spec.masks and tensor.axes != (BATCH, spec.masks[tensor.name]):
            raise UsageError(f"input {tensor.name!r}: a mask has axes [batch, sequence axis]")
        if tensor.name in spec.lengths and tensor.axes not in ((), (1,), (BATCH,)):
            raise UsageError(f"input {tensor.name!r}: lengths have axes [batch], [1] or []")
    if len(padded) > 1:
        raise UsageError(
            "one input can be padded, and others follow it by 'mask of' and 'lengths of';"
            f" padding is given for {', '.join(one.name for one in padded)}"
        )
    for one in padded:
        axes = one.axes or ()
        if len(axes) < 2 or axes[0] != BATCH or not isinstance(axes[1], str):
            raise UsageError(f"input {one.name!r}: padding needs axes [batch, sequence axis, …]")
    each = [t.name for t in spec.inputs if t.name in spec.lengths and BATCH in t.axes]
    ragged = {*spec.masks.values(), *(spec.lengths[name] for name in each)}
    if len(ragged | ({spec.ragged} if spec.padded else set())) > 1:
        raise UsageError("padding, masks and lengths must be of one and the same sequence axis")


def _probes(
    own: UserModel, spec: ModelSpec, lengths: Sequence[int], batches: Sequence[int]
) -> list[tuple[Case, Outputs]]:
    """The model's outputs at two sizes that differ in every axis, or in fewer if none such runs."""
    order = list(dict.fromkeys([*LENGTHS, *lengths]))
    axes = dict.fromkeys([*spec.axes, *spec.lengths.values()])
    tried: list[Lengths] = [
        {axis: order[(number + 3 * place) % len(order)] for place, axis in enumerate(axes)}
        for number in range(len(order))
    ]
    found: list[tuple[Case, Outputs]] = []
    told: list[str] = []
    for sizes in tried:
        found += _probe(own, spec, sizes, BATCHES[len(found)], told)
        if len(found) == 2:
            return found
    for sizes in [found[0][0].lengths] if found else tried:
        found += _probe(own, spec, sizes, BATCHES[1] if found else tuple(batches), told)
    if not found:
        hint = "; name an axis that inputs share alike in each: [batch, time]"
        raise UsageError(
            f"the model itself does not run at {told[0]}{hint if len(axes) > 1 else ''}"
        )
    return [found[0], found[-1]]


def _probe(
    own: UserModel, spec: ModelSpec, sizes: Lengths, batches: Sequence[int], told: list[str]
) -> list[tuple[Case, Outputs]]:
    """The model's outputs at these sizes, padded where it can be; none where it does not run."""
    many = any(BATCH in tensor.axes for tensor in spec.inputs)
    batch = next((n for n in batches if n not in sizes.values()), batches[0]) if many else 1
    for kind in (Raggedness.RIGHT, Raggedness.NONE) if spec.ragged else (Raggedness.NONE,):
        case = Case(sizes, batch, kind)
        try:
            return [(case, run(own, drawn(spec, case, 0)[1], wide=False))]
        except RefusedError as error:
            told.append(f"{lengths_text(sizes)}, batch={batch}: {error}")
    return []


def _at_bounds(own: UserModel, spec: ModelSpec, case: Case) -> None:
    """UsageError where the model refuses an integer input at an end of its range, or its padding.

    A few draws of a range that is too large for a table could all lie within the table.
    """
    usual = drawn(spec, replace(case, raggedness=Raggedness.NONE), 0)[1]
    for tensor in spec.inputs:
        whole = tensor.whole or np.dtype(tensor.dtype).kind in "iu"
        if not whole or tensor.name in spec.lengths or tensor.name in spec.masks:
            continue
        low, high = tensor.low, tensor.high - 1
        tried = {
            f"{bound:.0f}": {**usual, tensor.name: np.full_like(usual[tensor.name], bound)}
            for bound in (low, high)
        }
        if tensor.name == spec.padded and usual[tensor.name].shape[1] > 1:
            valid = np.ones(usual[tensor.name].shape[:2], bool)
            valid[:, -1] = False
            within = tried[f"{high:.0f}"]
            tried[f"its padding {spec.padding:g}"] = spec.padded_outside(within, valid)
        for text, inputs in tried.items():
            try:
                run(own, inputs, wide=False)
            except RefusedError as error:
                raise UsageError(
                    f"input {tensor.name!r}: the model itself refuses {text}, described as within"
                    f" {low:.0f}..{high:.0f}: {error}"
                ) from None
