"""The export phase: goldens' weights in, bundles out, in child processes.

A framework is imported only in a child, one for each framework: validating needs none, the
frameworks cannot disturb each other, and an exporter that crashes costs one export.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import install
from harness.core.errors import ExportError, HarnessError, StageError, UsageError, one_line, passing
from harness.core.registry import resolve
from harness.core.schema import Progress
from harness.core.temporary import clear_beside
from harness.exporters import EXPORTERS
from harness.exporters.variants import VARIANTS
from harness.exporting import bundle, source_hash
from harness.exporting.key import Targets, is_current, key
from harness.frameworks import FRAMEWORKS
from harness.goldens import store
from harness.graphs.example import example_inputs, sizes_of, weight_sizes
from harness.graphs.interface import name_axes
from harness.processes.limits import Limits
from harness.processes.worker import Heed, LostError, Worker
from reference_models import catalog

_MODELS: dict[str, Any] = {}
"""The framework's model of the last export in this process, by its name."""


@dataclass(frozen=True)
class ExportJob:
    """One export: the folder of its golden, what to export, the folder of the bundle."""

    model: str
    framework: str
    exporter: str
    variant: str
    opset: int
    golden: str
    folder: str

    @property
    def name(self) -> str:
        return f"{self.model}/{self.framework}/{self.exporter}/{self.variant}"


def ensure(
    jobs: Iterable[ExportJob],
    progress: Progress,
    read: Mapping[str, store.Golden] | None = None,
    limits: Limits | None = None,
) -> dict[str, bundle.Bundle | str]:
    """Return the bundle of every job by its name, exported now where no current one is stored.

    A name maps to a line of text where the framework is not installed and nothing is stored.
    ``read`` holds goldens that need not be read again, by their folder; ``limits`` are those of
    each export.
    """
    jobs, read = list(jobs), read or {}
    for job in jobs:
        clear_beside(Path(job.folder))
    texts: dict[str, source_hash.ModuleText] = {}
    plans = {
        job.name: _plan(job, read.get(job.golden) or store.read(Path(job.golden)), texts)
        for job in jobs
    }
    stale = [plan for plan in plans.values() if plan.stored() is None and plan.key["versions"]]
    groups = [[plan for plan in stale if plan.job.framework == name] for name in FRAMEWORKS]
    died = _in_children([group for group in groups if group], progress, limits or Limits())
    result: dict[str, bundle.Bundle | str] = {}
    for job in jobs:
        plan = plans[job.name]
        result[job.name] = (
            died.get(job.name)
            or plan.stored()
            or (bundle.read(Path(job.folder)) if plan in stale else "")
            or f"{job.framework} is not installed and {job.folder} has no export of these weights:"
            f" {install.line(job.framework)}"
        )
    return result


@dataclass(frozen=True)
class _ExportPlan:
    """An export with what makes it and what it depends on."""

    job: ExportJob
    targets: Targets
    key: Mapping[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest holds of the export, whether it succeeds or not."""
        names = ("model", "framework", "exporter", "variant", "opset")
        return {**{name: getattr(self.job, name) for name in names}, "key": self.key}

    def stored(self) -> bundle.Bundle | None:
        """Return the bundle of an earlier run, where it is what exporting now gives."""
        try:
            stored = bundle.read(Path(self.job.folder))
        except UsageError:
            return None
        return stored if is_current(stored.manifest["key"], self.key) else None

    def failed(self, error: StageError) -> dict[str, Any]:
        """Return the manifest of a failed export."""
        failure: dict[str, Any] = {"stage": error.stage.value, "reason": str(error)}
        if error.crashed:
            failure["crashed"] = True
        return {**self.about, "failure": failure}


def _plan(
    job: ExportJob, source: store.Golden, texts: dict[str, source_hash.ModuleText]
) -> _ExportPlan:
    exporter = EXPORTERS[f"{job.exporter}/{job.framework}"]
    twin = f"{catalog.package(source.spec.name)}.{job.framework}_twin"
    targets = Targets(twin, FRAMEWORKS[job.framework], exporter, VARIANTS[job.variant])
    return _ExportPlan(
        job, targets, key(targets, job.framework, source.weights_sha256, job.opset, texts)
    )


def _in_children(
    groups: Sequence[Sequence[_ExportPlan]], progress: Progress, limits: Limits
) -> dict[str, bundle.Bundle]:
    """Export each group in its own child, side by side; return the jobs whose process died.

    A death is reported and not stored: memory may have run out, or the user killed the process.
    """
    died: dict[str, bundle.Bundle] = {}
    if not groups:
        return died
    ending = threading.Event()
    with ThreadPoolExecutor(len(groups)) as pool:
        runs = [pool.submit(_run, group, progress, limits, died, ending) for group in groups]
        try:
            for run in runs:
                run.result()
        except BaseException:
            ending.set()
            raise
    return died


def _run(
    plans: Sequence[_ExportPlan],
    progress: Progress,
    limits: Limits,
    died: dict[str, bundle.Bundle],
    ending: threading.Event,
) -> None:
    """Export in a child; where it dies, add the job to ``died`` and go on in another child."""
    worker = None
    try:
        for plan in plans:
            worker = worker or Worker(limits, ending=ending)
            try:
                worker.call(export, plan)
            except LostError as lost:
                worker.stop()
                worker = None
                manifest = plan.failed(ExportError(f"the exporting process {lost}", crashed=True))
                died[plan.job.name] = bundle.Bundle(Path(plan.job.folder), manifest)
            progress(f"exported {plan.job.name}")
    finally:
        if worker is not None:
            worker.stop()


def export(emit: Heed, plan: _ExportPlan) -> None:
    """Make one export in this process, which keeps the framework's model for the next exporter.

    An error of the exporter is stored as a failure, as a crash where it was not foreseen. Where
    memory runs out, or the system refuses a file, the error is raised, which ends the process:
    nothing is stored.
    """
    job, targets = plan.job, plan.targets
    folder = Path(job.folder)
    source = store.read(Path(job.golden))
    spec, parameters = source.spec, source.parameters()
    example = example_inputs(spec, weight_sizes(parameters))
    try:
        if job.model not in _MODELS:
            _MODELS.clear()
            framework, twin = resolve(targets.framework), resolve(targets.twin)
            _MODELS[job.model] = framework.build(twin, spec, parameters)
        exported = resolve(targets.exporter)(_MODELS[job.model], spec, example, job.opset)
        data = resolve(targets.variant)(name_axes(exported, spec)).SerializeToString()
    except StageError as error:
        if passing(error):
            raise RuntimeError(str(error)) from error
        bundle.write(folder, None, plan.failed(error), None)
    except HarnessError:
        raise
    except Exception as error:
        if passing(error):
            raise
        crash = ExportError(one_line(error), crashed=True)
        bundle.write(folder, None, plan.failed(crash), None)
    else:
        about = {**plan.about, "example": sizes_of(spec, example)}
        bundle.write(folder, data, about, None)
