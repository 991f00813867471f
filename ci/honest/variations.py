"""What is varied: settings of ONNX Runtime, inputs, exports, weights and runtimes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ci.honest import fresh, transplant
from ci.honest.fresh import Draw
from harness.core import selectors
from harness.core.results import Cell, CellResult, Status
from harness.core.schema import Progress, Stage
from harness.goldens import store
from harness.runtimes import load
from harness.validation import pipeline
from harness.validation.job import Job, Ready, once_more
from harness.validation.pipeline import Prepared
from harness.validation.selection import Selection
from reference_models import catalog

BUILD = Path("build/honest")
CPU = "ort-cpu"
SETTINGS: dict[str, dict[str, Any]] = {
    "": {},
    "optimization none": {"optimization": "none"},
    "optimization basic": {"optimization": "basic"},
    "optimization extended": {"optimization": "extended"},
    "optimization layout": {"optimization": "layout"},
    "1 intra-op thread": {"intra_op_threads": 1},
    "2 intra-op threads": {"intra_op_threads": 2},
    "8 intra-op threads": {"intra_op_threads": 8},
    "parallel execution": {"execution": "parallel"},
    "no memory pattern": {"memory_pattern": False},
    "no arena": {"arena": False},
}
"""Each with all inputs. The first are the defaults, under which the inputs have a name each:
optimization all, a thread for each core, sequential, memory pattern and arena on."""


@dataclass(frozen=True)
class Scope:
    """How much is varied. Empty ``models`` and ``lengths`` are all.

    ``reference_lengths`` are those of the evaluator of onnx, which is slow.
    """

    models: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    draws: tuple[Draw, ...] = (Draw(11, 129), Draw(12, 65), Draw(13, 33, 1), Draw(13, 33, 64))
    orders: int = 3
    opsets: tuple[int, ...] = (20, 22, 24, 26)
    exporters: tuple[str, ...] = ("tf2onnx", "keras-export", "torch-dynamo", "torch-script")
    reference_lengths: tuple[str, ...] = ("1..64",)
    transplants: bool = True


FULL = Scope()
QUICK = Scope(
    models=("gru_tagger", "sequence_encoder"),
    lengths=("1..33",),
    draws=(Draw(11, 9), Draw(13, 9, 64)),
    orders=1,
    opsets=(),
    exporters=(),
    reference_lengths=("1..9",),
    transplants=False,
)


def trials(
    models: Sequence[str], scope: Scope, progress: Progress
) -> Iterator[tuple[str, CellResult]]:
    """Yield the variation and the result of every trial; export and measure first."""
    names = selectors.names("model", models or scope.models or [selectors.ALL], catalog.MODELS)
    usual = Selection(names, runtimes=(CPU,), lengths=scope.lengths)
    missing = fresh.ensure(names, scope.draws, BUILD / "fresh", progress)
    for model, framework in missing:
        cell = Cell(model, framework, "native", "fp32", CPU)
        yield "fresh inputs", CellResult(cell, Status.UNAVAILABLE, Stage.LOAD, "no noise floor")
    without = " and ".join(f"not {model}/{framework}/" for model, framework in missing) or None
    inputs = {"golden inputs": pipeline.prepare(usual, progress)}
    for draw in scope.draws:
        about = "fresh inputs" if draw.batch is None else f"fresh inputs, batch {draw.batch}"
        selection = replace(usual, golden=BUILD / "fresh" / draw.name, lengths=(), keyword=without)
        inputs[f"{about} (seed {draw.seed})"] = pipeline.prepare(selection, progress)
    others = list(_other_exports(usual, scope, progress))
    reference = replace(usual, runtimes=("onnx-reference",), lengths=scope.reference_lengths)
    others.append(("onnx-reference, short lengths", pipeline.prepare(reference, progress)))
    runtime = load(CPU)
    for name, settings in SETTINGS.items():
        progress(name or "default settings")
        for about, prepared in inputs.items():
            changed = runtime.configured(**settings)
            jobs = [replace(job, runtime=changed) for job in prepared.jobs]
            yield from _judged(name or about, replace(prepared, jobs=jobs))
    for order in range(scope.orders):
        yield from _judged("shuffled cases", _shuffled(inputs["golden inputs"], order))
    for name, prepared in others:
        progress(name)
        yield from _judged(name, prepared)


def _judged(name: str, prepared: Prepared) -> Iterator[tuple[str, CellResult]]:
    report = pipeline.judge(prepared, "", lambda result: None, lambda job: None)
    yield from ((name, result) for result in report.results)


def _shuffled(prepared: Prepared, order: int) -> Prepared:
    shuffle = random.Random(order).sample

    def shuffled(job: Job) -> Job:
        if not isinstance(job, Ready):
            return job
        cases = shuffle(job.cases, len(job.cases))
        return replace(job, cases=cases, again=once_more(cases))

    return replace(prepared, jobs=[shuffled(job) for job in prepared.jobs])


def _other_exports(
    usual: Selection, scope: Scope, progress: Progress
) -> Iterator[tuple[str, Prepared]]:
    for opset in scope.opsets:
        folder = BUILD / f"opset{opset}"
        selection = replace(usual, opset=opset, artifacts=folder)
        yield f"opset {opset}", pipeline.prepare(selection, progress)
    for exporter in scope.exporters:
        selection = replace(usual, exporters=(exporter,))
        yield f"exporter {exporter}", pipeline.prepare(selection, progress)
    if scope.transplants:
        for (weights, twin), prepared in transplanted(usual.subjects, progress).items():
            if weights != twin:
                yield f"{weights} weights in {twin}", prepared


def transplanted(
    models: Sequence[str], progress: Progress, goldens: Path = Path("golden")
) -> Mapping[tuple[str, str], Prepared]:
    """Return what judges each framework's weights in each framework's twin.

    Models that have but one twin are left out; nothing where no other is selected.
    """
    chosen = selectors.names("model", models or [selectors.ALL], catalog.MODELS)
    names = [name for name in chosen if len(catalog.load(name).frameworks) > 1]
    if not names:
        return {}
    frameworks = ("keras", "torch")
    result = {}
    for weights in frameworks:
        for twin in frameworks:
            folder, artifacts = goldens, Path("build/artifacts")
            if weights != twin:
                folder = transplant.folder(BUILD / "transplants", weights)
                artifacts = BUILD / f"{weights}_weights"
                for name in _progressing(names, f"{weights} weights in {twin}", progress):
                    source, host = (store.read(goldens / name / f) for f in (weights, twin))
                    transplant.write(source, host, BUILD / "transplants")
            selection = Selection(
                names, frameworks=(twin,), runtimes=(CPU,), golden=folder, artifacts=artifacts
            )
            result[weights, twin] = pipeline.prepare(selection, progress)
    return result


def _progressing(names: Iterable[str], about: str, progress: Progress) -> Iterator[str]:
    for name in names:
        progress(f"{about}: {name}")
        yield name
