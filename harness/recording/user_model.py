"""From a user model to a golden and an exported model, in the process that holds it.

For a file or a factory that is a child; for a live model of the Python API it is this process.
"""

from __future__ import annotations

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
from harness.goldens.noise_floor import JITTERED
from harness.graphs import interface, walk
from harness.graphs.example import example_inputs, sizes_of, weight_sizes
from harness.recording import cases, weights
from harness.recording.output_axes import named
from harness.recording.probing import RefusedError, UserModel, run, specification
from harness.recording.runs import COMPLETE_BYTES, Measured, measure
from harness.subjects.description import ModelDescription
from reference_models.cases import kept_steps, output_steps

WHOLE, STORED, MODEL, ABOUT = "whole", "golden", "model.onnx", "about.json"
FILE = "file"
LEAST = (0, 11, 29, 67, 137, 281)
"""The sizes from which an example is sought, in turn, where the model refuses the one before."""


@dataclass(frozen=True)
class ExportSettings:
    """How a user model is recorded and exported; ``existing`` is a file to judge instead."""

    name: str
    text: str
    description: ModelDescription = field(default_factory=ModelDescription)
    lengths: tuple[int, ...] = cases.LENGTHS
    batches: tuple[int, ...] = cases.BATCHES
    exporter: str = "native"
    variant: str = "fp32"
    opset: int = DEFAULT_OPSET
    existing: str = ""


def make(own: UserModel, settings: ExportSettings, folder: Path, progress: Progress) -> None:
    """Write to ``folder`` a golden with every step, one with some, the model, and ``about.json``.

    UsageError where the model cannot be run, is not described, or gives other outputs each time;
    ``about.json`` has the reason where the export fails.
    """
    description = settings.description
    spec = specification(own, description, settings.name, settings.lengths, settings.batches)
    existing = own.model if own.framework == "onnx" else None
    if settings.existing:
        existing = interface.read(settings.existing)
    if existing is not None:
        spec = _with_names(spec, existing, bool(description.outputs))
    right = any(described.right for described in description.inputs)
    plan = cases.plan(spec, settings.lengths, settings.batches, right)
    results, refused = measure(own, spec, plan, progress)
    parameters = {name: np.ascontiguousarray(value) for name, value in own.parameters().items()}
    origin = {
        "model": spec.name,
        "framework": own.framework,
        "subject": settings.text,
        "seed": 0,
        "training": {},
        "refused": refused,
        "float32_runs": JITTERED,
        "environment": made_with(own.framework),
        "command": "python -m harness.export",
    }
    for name, thin in ((WHOLE, False), (STORED, True)):
        recorded = [_recorded(spec, result, thin) for result in results]
        store.write(folder / name, spec, parameters, recorded, origin)
    example = example_inputs(spec, weight_sizes(parameters))
    if existing is None:
        full = [r for r in results if r.case.raggedness is Raggedness.NONE] or results
        fallback = max(full, key=lambda result: (result.case.batch, result.case.longest)).inputs
        example = _example(own, spec, parameters, fallback)
    about: dict[str, Any] = {"example": sizes_of(spec, example), "refused": refused}
    about["exporter"] = settings.exporter if existing is None else FILE
    try:
        progress(f"{spec.name}: exporting")
        exported = _export(own, spec, example, settings) if existing is None else existing
        exported = interface.name_axes(interface.fix_sizes(exported, spec), spec)
        model = resolve(VARIANTS[settings.variant])(exported)
        (folder / MODEL).write_bytes(model.SerializeToString())
        progress(f"{spec.name}: looking for every weight")
        weights.write(folder, own, parameters, model, [result.inputs for result in results])
        about["opset"] = walk.opset(model)
    except StageError as error:
        about["failure"] = {"stage": error.stage.value, "reason": str(error)}
    except HarnessError:
        raise
    except Exception as error:
        about["failure"] = {"stage": "export", "reason": one_line(error)}
    (folder / ABOUT).write_text(json.dumps(about))


def _with_names(spec: ModelSpec, model: Any, fixed: bool) -> ModelSpec:
    """Return ``spec`` with a graph's output names; UsageError where ``fixed`` names differ."""
    own = [value.name for value in model.graph.output]
    names = [tensor.name for tensor in spec.outputs]
    if sorted(own) == sorted(names):
        return spec
    if fixed or len(own) != len(names):
        raise UsageError(
            f"the file's outputs are {', '.join(own)}; expected {', '.join(names)}, which the"
            " model or --outputs has"
        )
    renamed = [replace(t, name=name) for t, name in zip(spec.outputs, own, strict=True)]
    return replace(spec, outputs=tuple(renamed))


def _export(own: UserModel, spec: ModelSpec, example: Arrays, settings: ExportSettings) -> Any:
    key = f"{settings.exporter}/{own.framework}"
    model = own.model
    if key not in EXPORTERS:
        taking = (name.rpartition("/") for name in EXPORTERS)
        known = ", ".join(name for name, _, framework in taking if framework == own.framework)
        raise UsageError(
            f"exporter {settings.exporter!r} takes no {own.framework} model; choose from: {known}"
        )
    exporter = resolve(EXPORTERS[key])
    try:
        return exporter(model, spec, example, settings.opset)
    except StageError:
        raise
    except Exception as error:
        raise ExportError(one_line(error)) from error


def _example(own: UserModel, spec: ModelSpec, parameters: Arrays, fallback: Arrays) -> Arrays:
    """Return inputs to export with: the smallest for which no dynamic axis of an output has size 1.

    Where the model takes none of the sizes in ``LEAST``, they are the ``fallback``.
    """
    avoid = weight_sizes(parameters)
    for least in LEAST:
        example = example_inputs(spec, avoid | set(range(least)))
        try:
            outputs = named(spec, run(own, example, wide=False))
        except RefusedError:
            continue
        dynamic = [
            size
            for tensor in spec.outputs
            for axis, size in zip(tensor.axes, outputs[tensor.name].shape, strict=True)
            if isinstance(axis, str)
        ]
        if min(dynamic, default=2) > 1:
            return example
    return fallback


def _recorded(spec: ModelSpec, result: Measured, thin: bool) -> store.RecordedCase:
    """Return a case as the store takes it; a ``thin`` one has some steps of large outputs."""
    steps = None
    if thin and sum(value.nbytes for value in result.outputs.values()) > COMPLETE_BYTES:
        steps = kept_steps(output_steps(spec, result.case), len(result.case.id))
    outputs = {t.name: t.at_steps(result.outputs[t.name], steps) for t in spec.outputs}
    projections = {} if steps is None else result.projections
    return store.RecordedCase(
        result.case,
        result.formulas,
        result.inputs,
        outputs,
        steps,
        result.noise,
        result.bands,
        projections,
    )
