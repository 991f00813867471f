"""From a model of one's own to a golden and an exported model, in the process that holds it.

Runs in a child for whatever a file or a factory gives, and where the model already lives for the
Python API.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.environment import made_with
from harness.core.errors import ExportError, HarnessError, StageError, UsageError, one_line
from harness.core.registry import resolve
from harness.core.schema import Arrays, ModelSpec, Progress, Raggedness
from harness.exporters import DEFAULT_OPSET, EXPORTERS
from harness.exporters.variants import VARIANTS
from harness.goldens import store
from harness.goldens.noise_floor import DRAWS
from harness.graphs import interface, walk
from harness.graphs.example import example_inputs, sizes_of, weight_sizes
from harness.recording import cases
from harness.recording.output_axes import named
from harness.recording.probing import RefusedError, UserModel, run, specification
from harness.recording.runs import Measured, measure
from harness.subjects.described import Description
from reference_models.cases import kept_steps, steps_told

WHOLE, STORED, MODEL, ABOUT = "whole", "golden", "model.onnx", "about.json"
COMPLETE_BYTES = 1 << 16
FILE = "file"
LEAST = (0, 11, 29, 67, 137, 281)
"""From which sizes on an example is looked for, where the model refuses the one before."""


@dataclass(frozen=True)
class Wanted:
    """What is to be made of a model; ``existing`` is a file that is judged instead of an export."""

    name: str
    text: str
    description: Description = field(default_factory=Description)
    lengths: tuple[int, ...] = cases.LENGTHS
    batches: tuple[int, ...] = cases.BATCHES
    exporter: str = "native"
    variant: str = "fp32"
    opset: int = DEFAULT_OPSET
    existing: str = ""


def make(own: UserModel, wanted: Wanted, folder: Path, progress: Progress) -> None:
    """Write to ``folder`` a golden with every step, one as it is shipped, the model, and about it.

    UsageError where the model cannot be run, is not described, or gives other outputs each time;
    an export that fails is told in ``about.json``.
    """
    said = wanted.description
    spec = specification(own, said, wanted.name, wanted.lengths, wanted.batches)
    if wanted.existing or own.framework == "onnx":
        spec = _as_in(
            spec, interface.read(wanted.existing) if wanted.existing else _model(own), said
        )
    right = any(one.right for one in said.inputs)
    plan = cases.plan(spec, wanted.lengths, wanted.batches, right)
    measured, refused = measure(own, spec, plan, progress)
    parameters = _parameters(own)
    about = {
        "model": spec.name,
        "framework": own.framework,
        "subject": wanted.text,
        "seed": 0,
        "training": {},
        "refused": refused,
        "float32_runs": DRAWS,
        "environment": made_with(own.framework),
        "command": "python -m harness.export",
    }
    whole = [_recorded(spec, one, False) for one in measured]
    store.write(folder / WHOLE, spec, parameters, whole, about)
    stored = [_recorded(spec, one, True) for one in measured]
    store.write(folder / STORED, spec, parameters, stored, about)
    from_file = bool(wanted.existing) or own.framework == "onnx"
    fitting = [one for one in measured if one.case.raggedness is Raggedness.NONE] or measured
    fallback = max(fitting, key=lambda one: (one.case.batch, one.case.longest)).inputs
    example = _example(own, spec, parameters, not from_file, fallback)
    told: dict[str, Any] = {"example": sizes_of(spec, example), "refused": refused}
    told["exporter"] = FILE if from_file else wanted.exporter
    try:
        progress(f"{spec.name}: exporting")
        exported = interface.fix_sizes(_exported(own, spec, example, wanted), spec)
        exported = interface.name_axes(exported, spec)
        model = resolve(VARIANTS[wanted.variant])(exported)
        (folder / MODEL).write_bytes(model.SerializeToString())
        told["opset"] = walk.opset(model)
    except StageError as error:
        told["failure"] = {"stage": error.stage.value, "reason": str(error)}
    except HarnessError:
        raise
    except Exception as error:
        told["failure"] = {"stage": "export", "reason": one_line(error)}
    (folder / ABOUT).write_text(json.dumps(told))


def _as_in(spec: ModelSpec, model: Any, said: Description) -> ModelSpec:
    """``spec`` with the outputs' names of a graph; UsageError where the user wants others."""
    there = [value.name for value in model.graph.output]
    names = [tensor.name for tensor in spec.outputs]
    if sorted(there) == sorted(names):
        return spec
    if said.outputs or len(there) != len(names):
        raise UsageError(
            f"the file's outputs are {', '.join(there)}; expected {', '.join(names)}, which the"
            " model or --outputs has"
        )
    renamed = [replace(t, name=name) for t, name in zip(spec.outputs, there, strict=True)]
    return replace(spec, outputs=tuple(renamed))


def _model(own: UserModel) -> Any:
    return getattr(own, "model")  # noqa: B009


def _exported(own: UserModel, spec: ModelSpec, example: Arrays, wanted: Wanted) -> Any:
    if wanted.existing:
        return interface.read(wanted.existing)
    model = _model(own)
    if own.framework == "onnx":
        return model
    key = f"{wanted.exporter}/{own.framework}"
    if key not in EXPORTERS:
        there = ", ".join(k.rpartition("/")[0] for k in EXPORTERS if k.endswith(own.framework))
        raise UsageError(
            f"exporter {wanted.exporter!r} takes no {own.framework} model; choose from: {there}"
        )
    exporter = resolve(EXPORTERS[key])
    try:
        return exporter(model, spec, example, wanted.opset)
    except StageError:
        raise
    except Exception as error:
        raise ExportError(one_line(error)) from error


def _example(
    own: UserModel, spec: ModelSpec, parameters: Arrays, runs: bool, fallback: Arrays
) -> Arrays:
    """Inputs to export with: the smallest that the model takes, with no axis of size 1 inside.

    Where it takes none of the sizes that are tried, it gets the ``fallback``.
    """
    taken = weight_sizes(parameters)
    usual = example_inputs(spec, taken)
    for least in LEAST if runs else ():
        example = example_inputs(spec, taken | set(range(least)))
        try:
            found = named(spec, run(own, example, wide=False))
        except RefusedError:
            continue
        dynamic = [
            size
            for tensor in spec.outputs
            for axis, size in zip(tensor.axes, found[tensor.name].shape, strict=True)
            if isinstance(axis, str)
        ]
        if min(dynamic, default=2) > 1:
            return example
    return fallback if runs else usual


def _recorded(spec: ModelSpec, one: Measured, thin: bool) -> store.RecordedCase:
    """A case as the store takes it; a ``thin`` one keeps some steps of outputs that are large."""
    steps = None
    if thin and sum(value.nbytes for value in one.outputs.values()) > COMPLETE_BYTES:
        steps = kept_steps(steps_told(spec, one.case), len(one.case.id))
    outputs = {t.name: t.at_steps(one.outputs[t.name], steps) for t in spec.outputs}
    return store.RecordedCase(one.case, one.formulas, one.inputs, outputs, steps, one.noise)


def _parameters(own: UserModel) -> Arrays:
    """The weights, or for an ONNX file its SHA-256, which stands for them."""
    if own.framework == "onnx":
        data = Path(getattr(own, "path")).read_bytes()  # noqa: B009
        return {"sha256": np.frombuffer(hashlib.sha256(data).digest(), np.uint8)}
    values: Arrays = getattr(own, "parameters")()  # noqa: B009
    return {name: np.ascontiguousarray(value) for name, value in values.items()}
