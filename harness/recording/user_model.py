"""From a user model to a golden and an exported model, in the process that holds it.

For a file or a factory that is a child; for a live model of the Python API it is this process.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.environment import made_with
from harness.core.errors import UsageError
from harness.core.memory import give_back
from harness.core.schema import Case, ModelSpec, Progress, lengths_text
from harness.goldens import manifest, store
from harness.goldens.noise_floor import JITTERED
from harness.graphs import interface, serialize
from harness.recording import cases, decisions, exported, promises, weights
from harness.recording.measured import Measured
from harness.recording.more import More
from harness.recording.probing import RefusedError, UserModel, run, shapes, specification
from harness.recording.runs import Refused, measure
from harness.recording.settings import ExportSettings
from harness.recording.values import Feed, Values, coverage
from reference_models.cases import drawn

STORED, MODEL, ABOUT = "golden", "model.onnx", "about.json"


def make(own: UserModel, settings: ExportSettings, folder: Path, progress: Progress) -> None:
    """Write to ``folder`` a golden, the model, the account of its weights and ``about.json``.

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
    sizes = (settings.lengths, settings.batches, right)
    promised = promises.of(own, spec, cases.plan(spec, *sizes))
    spec = promised.spec
    plan = [c for c in cases.plan(spec, *sizes) if c.raggedness not in promised.excluded]
    kept = promises.kept(own, spec)
    parameters = {name: np.ascontiguousarray(value) for name, value in own.parameters().items()}
    more = More(kept, spec, settings.lengths, settings.batches)
    about: dict[str, Any] = {"decisions": {}}

    def decided(results: list[Measured], _: Values, __: Refused) -> list[Feed]:
        """Export the model, and return inputs that take its decisions as the cases do not."""
        give_back()  # of the runs before
        model = exported.model(own, spec, existing, settings, results, about, progress)
        if model is None:
            return []
        give_back()  # of the export
        serialize.write(model, folder / MODEL)
        progress(f"{spec.name}: looking for every weight")
        weights.write(folder, own, parameters, model, [result.inputs for result in results])
        feeds, found = decisions.search(model, spec, results, settings.lengths, progress)
        about["decisions"] = found.evidence()
        return feeds

    added = (more.long, more.reading, more.small, decided)
    results, refused, uncompared = measure(kept, spec, plan, progress, added)
    _check_batch(own, spec, plan, [*(result.case for result in results), *uncompared])
    refused = [
        *refused,
        *_not_varied(own, spec),
        *promised.lines,
        *promises.left_out(promised, results),
    ]
    if own.framework != "onnx":
        spec = replace(spec, unchanged=promises.unchanged(own, spec, results, right))
    origin = {
        "model": spec.name,
        "framework": own.framework,
        "subject": settings.text,
        "seed": 0,
        "training": {},
        "refused": refused,
        "coverage": coverage(spec, [Feed(r.case, r.formulas, r.inputs) for r in results]),
        "uncompared": [manifest.entry_of(case) for case in uncompared],
        "float32_runs": JITTERED,
        "environment": made_with(own.framework),
        "command": "python -m harness.export",
    }
    recorded = [*map(_recorded, results)]
    store.write(folder / STORED, spec, parameters, recorded, origin, keep_weights=False)
    about["refused"] = refused
    (folder / ABOUT).write_text(json.dumps(about))


def _check_batch(
    own: UserModel, spec: ModelSpec, plan: Sequence[Case], ran: Sequence[Case]
) -> None:
    """Raise UsageError where a model runs at no other batch than 1, though others were planned."""
    if {case.batch for case in ran} != {1} or not any(case.batch > 1 for case in plan):
        return
    case = replace(min(ran, key=lambda case: case.longest), batch=3)
    try:
        run(own, drawn(spec, case, 0)[1], wide=False)
    except RefusedError as error:
        raise UsageError(
            "the batch is declared as one that varies, but the model runs at batch=1 alone"
            f" ({lengths_text(case.lengths)}, batch=3: {error}); --batch 1 proves it there"
        ) from None


def _not_varied(own: UserModel, spec: ModelSpec) -> list[str]:
    """Return a line where no length varies, and for each input whose padding is not tried."""
    lines = []
    if not spec.axes and not spec.states:
        like = [(i.name, o.name) for i in spec.inputs for o in spec.outputs if i.axes == o.axes]
        state = (
            "; where {1!r} is the next {0!r}, say so under [states]".format(*like[0])
            if like
            else ""
        )
        given = f"no input has steps that vary, {shapes(spec)}: it takes this alone"
        lines.append(f"other lengths: {given}{state}")
    told = [d.name for d in own.inputs() if d.padding is not None and d.name not in spec.paddings]
    why = "the number of its steps is fixed, or it is described with 'no padding'"
    return lines + [f"padding of {name}, which the model tells of: {why}" for name in told]


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


def _recorded(result: Measured) -> store.RecordedCase:
    return store.RecordedCase(
        result.case,
        result.formulas,
        result.inputs,
        result.outputs,
        result.steps,
        result.noise,
        result.bands,
        result.projections,
    )
