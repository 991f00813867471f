"""The export phase: goldens' weights in, bundles out, in child processes.

A framework is imported only in a child, one for each framework, so that validating needs none, the
frameworks cannot disturb each other, and an exporter that crashes costs one export.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import bundle, golden
from harness.errors import ExportError, HarnessError, StageError, UsageError, one_line
from harness.exporters import EXPORTERS
from harness.frameworks import FRAMEWORKS
from harness.registry import resolve
from harness.schema import Progress, Stage
from harness.variants import VARIANTS

CHILD = "harness.exporting"
_DONE = "done "


@dataclass(frozen=True)
class Job:
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
    jobs: Iterable[Job], progress: Progress, read: Mapping[str, golden.Golden] | None = None
) -> dict[str, bundle.Bundle | str]:
    """The bundle of every job by its name, exported now where there is none that is current.

    A name maps to a line of text where the framework is not installed and nothing is stored.
    ``read`` holds goldens that need not be read again, by their folder.
    """
    jobs, known = list(jobs), read or {}
    keys = {
        job.name: _key(job, known.get(job.golden) or golden.read(Path(job.golden))) for job in jobs
    }
    stale = [job for job in jobs if _stored(job, keys[job.name]) is None]
    possible = [job for job in stale if keys[job.name]["versions"]]
    by_framework = {f: [j for j in possible if j.framework == f] for f in FRAMEWORKS}
    died = _in_children([todo for todo in by_framework.values() if todo], keys, progress)
    result: dict[str, bundle.Bundle | str] = {}
    for job in jobs:
        stored = died.get(job.name) or _stored(job, keys[job.name])
        if stored is None and job in possible:
            stored = bundle.read(Path(job.folder))
        result[job.name] = stored or (
            f"{job.framework} is not installed and {job.folder} has no export of these weights:"
            f" pip install 'onnx-sequence-harness[{job.framework}]'"
        )
    return result


def _in_children(
    groups: list[list[Job]], keys: Mapping[str, Any], progress: Progress
) -> dict[str, bundle.Bundle]:
    """Run each group in children of its own, side by side; the jobs whose process died.

    A death is told and not stored: it may have been for want of memory, or by the user's hand.
    """
    died: dict[str, bundle.Bundle] = {}
    if not groups:
        return died
    stopping = threading.Event()
    children: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(len(groups)) as pool:
        runs = [
            pool.submit(_run_children, todo, keys, progress, died, children, stopping)
            for todo in groups
        ]
        try:
            for run in runs:
                run.result()
        except BaseException:
            stopping.set()
            for child in children:
                child.kill()
            raise
    return died


def _key(job: Job, source: golden.Golden) -> dict[str, Any]:
    target = EXPORTERS[f"{job.exporter}/{job.framework}"]
    package, weights = source.spec.package, source.weights_sha256
    return bundle.key(job.framework, target, VARIANTS[job.variant], package, weights, job.opset)


def _stored(job: Job, key: Mapping[str, Any]) -> bundle.Bundle | None:
    try:
        stored = bundle.read(Path(job.folder))
    except UsageError:
        return None
    return stored if bundle.current(stored, key) else None


def _run_children(
    jobs: list[Job],
    keys: Mapping[str, Any],
    progress: Progress,
    died: dict[str, bundle.Bundle],
    children: list[subprocess.Popen[str]],
    stopping: threading.Event,
) -> None:
    """Run the jobs in a child; where it dies, note that job and start another for the rest."""
    todo = deque(jobs)
    while todo and not stopping.is_set():
        with tempfile.TemporaryFile("w+") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            children.append(child)
            assert child.stdin is not None
            assert child.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps([[asdict(j), keys[j.name]] for j in todo]))
                child.stdin.close()
            for line in child.stdout:
                if line.startswith(_DONE):
                    progress(f"exported {todo.popleft().name}")
            status = child.wait()
            if todo and not stopping.is_set():
                log.seek(0)
                said = [line.strip() for line in log if line.strip()][-1:]
                job = todo.popleft()
                reason = f"the exporting process ended with {_ended(status)}: {' '.join(said)}"
                failure = {"stage": Stage.EXPORT.value, "reason": reason}
                about = {**_about(job, keys[job.name]), "failure": failure}
                died[job.name] = bundle.Bundle(Path(job.folder), about)
                progress(f"exported {job.name}")


def _ended(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit code {status}"


def _write_failure(job: Job, key: Mapping[str, Any], error: StageError) -> None:
    failure = {"stage": error.stage.value, "reason": str(error)}
    bundle.write(Path(job.folder), None, {**_about(job, key), "failure": failure}, None)


def _about(job: Job, key: Mapping[str, Any]) -> dict[str, Any]:
    named = ("model", "framework", "exporter", "variant", "opset")
    return {**{name: getattr(job, name) for name in named}, "key": key}


def _export(job: Job, key: Mapping[str, Any], models: dict[str, Any]) -> None:
    """One export in this process; ``models`` keeps the framework model between exporters."""
    from harness import graph
    from reference_models import catalog

    source = golden.read(Path(job.golden))
    spec, parameters = source.spec, source.parameters()
    example = graph.example_inputs(spec, graph.weight_sizes(parameters))
    try:
        if job.model not in models:
            models.clear()
            twin = catalog.part(spec, f"{job.framework}_twin")
            adapter = resolve(FRAMEWORKS[job.framework])
            models[job.model] = adapter.build(twin, spec, parameters)
        exporter = resolve(EXPORTERS[f"{job.exporter}/{job.framework}"])
        exported = exporter(models[job.model], spec, example, job.opset)
        exported = resolve(VARIANTS[job.variant])(graph.name_axes(exported, spec))
        data = exported.SerializeToString()
    except StageError as error:
        _write_failure(job, key, error)
    except HarnessError:
        raise
    except Exception as error:
        _write_failure(job, key, ExportError(one_line(error)))
    else:
        about = {**_about(job, key), "example": graph.sizes(spec, example)}
        bundle.write(Path(job.folder), data, about, None)


def child() -> None:
    """Read jobs from standard input, export each, say so on the real standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    models: dict[str, Any] = {}
    for entry, key in json.load(sys.stdin):
        job = Job(**entry)
        _export(job, key, models)
        print(f"{_DONE}{job.name}", file=answers, flush=True)


if __name__ == "__main__":
    child()
