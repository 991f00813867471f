"""The export phase: goldens' weights in, bundles out, in child processes.

A framework is imported only in a child, one for each framework, so that validating needs none, the
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
from harness.core.schema import Progress, Stage
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
"""The framework's model that the last export in this process was of, by its name"""


@dataclass(frozen=True)
class ExportJob:
    """One export: where its golden is, what to do, where the bundle goes."""

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
    """The bundle of every job by its name, exported now where there is none that is current.

    A name maps to a line of text where the framework is not installed and nothing is stored.
    ``read`` holds goldens that need not be read again, by their folder; ``limits`` hold for each
    export.
    """
    jobs, known = list(jobs), read or {}
    texts: dict[str, source_hash.ModuleText] = {}
    exports = {
        job.name: _planned(job, known.get(job.golden) or store.read(Path(job.golden)), texts)
        for job in jobs
    }
    stale = [one for one in exports.values() if one.stored() is None and one.key["versions"]]
    groups = [[one for one in stale if one.job.framework == name] for name in FRAMEWORKS]
    died = _in_children([group for group in groups if group], progress, limits or Limits())
    result: dict[str, bundle.Bundle | str] = {}
    for job in jobs:
        one = exports[job.name]
        result[job.name] = (
            died.get(job.name)
            or one.stored()
            or (bundle.read(Path(job.folder)) if one in stale else "")
            or f"{job.framework} is not installed and {job.folder} has no export of these weights:"
            f" {install.line(job.framework)}"
        )
    return result


@dataclass(frozen=True)
class _Planned:
    """An export with what makes it and what it depends on."""

    job: ExportJob
    targets: Targets
    key: Mapping[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest holds of it, whether it succeeds or not."""
        names = ("model", "framework", "exporter", "variant", "opset")
        return {**{name: getattr(self.job, name) for name in names}, "key": self.key}

    def stored(self) -> bundle.Bundle | None:
        """The bundle of an earlier run, where that is what exporting now would give."""
        try:
            stored = bundle.read(Path(self.job.folder))
        except UsageError:
            return None
        return stored if is_current(stored.manifest["key"], self.key) else None

    def write_failure(self, error: StageError) -> None:
        failure: dict[str, Any] = {"stage": error.stage.value, "reason": str(error)}
        if error.crashed:
            failure["crashed"] = True
        bundle.write(Path(self.job.folder), None, {**self.about, "failure": failure}, None)


def _planned(
    job: ExportJob, source: store.Golden, texts: dict[str, source_hash.ModuleText]
) -> _Planned:
    exporter = EXPORTERS[f"{job.exporter}/{job.framework}"]
    twin = f"{catalog.package(source.spec.name)}.{job.framework}_twin"
    targets = Targets(twin, FRAMEWORKS[job.framework], exporter, VARIANTS[job.variant])
    return _Planned(
        job, targets, key(targets, job.framework, source.weights_sha256, job.opset, texts)
    )


def _in_children(
    groups: Sequence[Sequence[_Planned]], progress: Progress, limits: Limits
) -> dict[str, bundle.Bundle]:
    """Export each group in a child of its own, side by side; return the jobs whose process died.

    A death is reported and not stored: it may have been for want of memory, or by the user's hand.
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
    exports: Sequence[_Planned],
    progress: Progress,
    limits: Limits,
    died: dict[str, bundle.Bundle],
    ending: threading.Event,
) -> None:
    """Make the exports in a child; where it dies, note that one and start another for the rest."""
    worker = None
    try:
        for one in exports:
            worker = worker or Worker(limits, ending=ending)
            try:
                worker.call(export, one)
            except LostError as lost:
                worker.stop()
                worker = None
                reason = f"the exporting process {lost}"
                failure = {"stage": Stage.EXPORT.value, "reason": reason, "crashed": True}
                about = {**one.about, "failure": failure}
                died[one.job.name] = bundle.Bundle(Path(one.job.folder), about)
            progress(f"exported {one.job.name}")
    finally:
        if worker is not None:
            worker.stop()


def export(emit: Heed, one: _Planned) -> None:
    """Make one export in this process, which keeps the framework's model for the next exporter.

    What its exporter refuses is stored as a failure, what it did not foresee as a crash. Where
    memory lacks, or the system refuses a file, that is raised, to end the process: it is not
    stored.
    """
    job, targets = one.job, one.targets
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
        one.write_failure(error)
    except HarnessError:
        raise
    except Exception as error:
        if passing(error):
            raise
        one.write_failure(ExportError(one_line(error), crashed=True))
    else:
        about = {**one.about, "example": sizes_of(spec, example)}
        bundle.write(Path(job.folder), data, about, None)
