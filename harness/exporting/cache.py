"""The export phase: goldens' weights in, bundles out, in child processes.

A framework is imported only in a child, one for each framework, so that validating needs none, the
frameworks cannot disturb each other, and an exporter that crashes costs one export.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any

from harness.core import install
from harness.core.errors import ExportError, HarnessError, StageError, UsageError, one_line, passing
from harness.core.registry import resolve
from harness.core.schema import Progress, Stage
from harness.exporters import EXPORTERS
from harness.exporters.variants import VARIANTS
from harness.exporting import bundle, source_hash
from harness.frameworks import FRAMEWORKS
from harness.goldens import store
from harness.graphs.example import example_inputs, sizes_of, weight_sizes
from harness.processes.limits import Limits, confine
from reference_models import catalog

CHILD = "harness.exporting.cache"
_DONE = "done "
_LOOK, _TAIL = 1.0, 4096


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
    jobs: Iterable[Job],
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
    texts: dict[str, source_hash.Source] = {}
    keys = {
        job.name: _key(job, known.get(job.golden) or store.read(Path(job.golden)), texts)
        for job in jobs
    }
    stale = [job for job in jobs if _stored(job, keys[job.name]) is None]
    possible = [job for job in stale if keys[job.name]["versions"]]
    by_framework = {f: [j for j in possible if j.framework == f] for f in FRAMEWORKS}
    groups = [todo for todo in by_framework.values() if todo]
    died = _in_children(groups, keys, progress, limits or Limits())
    result: dict[str, bundle.Bundle | str] = {}
    for job in jobs:
        stored = died.get(job.name) or _stored(job, keys[job.name])
        if stored is None and job in possible:
            stored = bundle.read(Path(job.folder))
        result[job.name] = stored or (
            f"{job.framework} is not installed and {job.folder} has no export of these weights:"
            f" {install.line(job.framework)}"
        )
    return result


def _in_children(
    groups: list[list[Job]], keys: Mapping[str, Any], progress: Progress, limits: Limits
) -> dict[str, bundle.Bundle]:
    """Run each group in children of its own, side by side; the jobs whose process died.

    A death is told and not stored: it may have been for want of memory, or by the user's hand.
    """
    died: dict[str, bundle.Bundle] = {}
    if not groups:
        return died
    stopping = threading.Event()
    children: list[subprocess.Popen[bytes]] = []
    with ThreadPoolExecutor(len(groups)) as pool:
        runs = [
            pool.submit(_run_children, todo, keys, progress, limits, died, children, stopping)
            for todo in groups
        ]
        try:
            for run in runs:
                run.result()
        except BaseException:
            stopping.set()
            for child in children:
                _kill(child)
            raise
    return died


def _key(
    job: Job, source: store.Golden, texts: dict[str, source_hash.Source] | None = None
) -> dict[str, Any]:
    target = EXPORTERS[f"{job.exporter}/{job.framework}"]
    package, variant = catalog.package(source.spec.name), VARIANTS[job.variant]
    weights = source.weights_sha256
    return bundle.key(job.framework, target, variant, package, weights, job.opset, texts)


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
    limits: Limits,
    died: dict[str, bundle.Bundle],
    children: list[subprocess.Popen[bytes]],
    stopping: threading.Event,
) -> None:
    """Run the jobs in a child; where it dies, note that job and start another for the rest."""
    todo = deque(jobs)

    def done() -> None:
        progress(f"exported {todo.popleft().name}")

    while todo and not stopping.is_set():
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile() as log:
            asked = [[asdict(job), keys[job.name]] for job in todo]
            json.dump({"memory": limits.data, "jobs": asked}, given)
            given.seek(0)
            child = subprocess.Popen(
                [sys.executable, "-m", CHILD],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
            children.append(child)
            if stopping.is_set():
                _kill(child)
            how = _watch(child, log, limits, done)
            if todo and not stopping.is_set():
                job = todo[0]
                reason = f"the exporting process {how}: {_last_line(log)}"
                failure = {"stage": Stage.EXPORT.value, "reason": reason, "crashed": True}
                about = {**_about(job, keys[job.name]), "failure": failure}
                died[job.name] = bundle.Bundle(Path(job.folder), about)
                done()


def _watch(
    child: subprocess.Popen[bytes], log: IO[bytes], limits: Limits, done: Callable[[], None]
) -> str:
    """Call ``done`` as often as the child says that an export is done; how it ended.

    One whose export takes too long or writes too much is killed, with what it started.
    """
    assert child.stdout is not None
    said, begun = b"", time.monotonic()
    with child.stdout as answers:
        while (left := begun + limits.time - time.monotonic()) > 0:
            if os.fstat(log.fileno()).st_size > limits.output:
                _kill(child)
                return f"wrote over {limits.output:,} bytes of output, was killed"
            alive = child.poll() is None
            if not wait([answers.fileno()], min(left, _LOOK)):
                if alive:
                    continue
                _kill_group(child)
                return f"ended with {_ended(child.returncode)}"
            part = os.read(answers.fileno(), 2**16)
            if not part:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return f"ended with {_ended(child.wait(left))}"
            *lines, said = (said + part).split(b"\n")
            for line in lines:
                if line.startswith(_DONE.encode()):
                    done()
                    begun = time.monotonic()
    _kill(child)
    return f"did not end within {limits.time:g} s, was killed"


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill a child and what it started; one that has ended and been waited for is left alone."""
    if child.returncode is None:
        _kill_group(child)
        child.wait()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _last_line(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
    return " ".join([line for line in lines if line][-1:])


def _ended(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit code {status}"


def _write_failure(job: Job, key: Mapping[str, Any], error: StageError) -> None:
    failure: dict[str, Any] = {"stage": error.stage.value, "reason": str(error)}
    if error.crashed:
        failure["crashed"] = True
    bundle.write(Path(job.folder), None, {**_about(job, key), "failure": failure}, None)


def _about(job: Job, key: Mapping[str, Any]) -> dict[str, Any]:
    named = ("model", "framework", "exporter", "variant", "opset")
    return {**{name: getattr(job, name) for name in named}, "key": key}


def _export(job: Job, key: Mapping[str, Any], models: dict[str, Any]) -> None:
    """One export in this process; ``models`` keeps the framework model between exporters.

    What its exporter refuses is stored as a failure, what it did not foresee as a crash. Where
    memory lacks, or the system refuses a file, the process is to end: that is not stored.
    """
    from harness.graphs import interface

    source = store.read(Path(job.golden))
    spec, parameters = source.spec, source.parameters()
    example = example_inputs(spec, weight_sizes(parameters))
    try:
        if job.model not in models:
            models.clear()
            twin = catalog.part(spec, f"{job.framework}_twin")
            adapter = resolve(FRAMEWORKS[job.framework])
            models[job.model] = adapter.build(twin, spec, parameters)
        exporter = resolve(EXPORTERS[f"{job.exporter}/{job.framework}"])
        exported = exporter(models[job.model], spec, example, job.opset)
        exported = resolve(VARIANTS[job.variant])(interface.name_axes(exported, spec))
        data = exported.SerializeToString()
    except StageError as error:
        if passing(error):
            raise
        _write_failure(job, key, error)
    except HarnessError:
        raise
    except Exception as error:
        if passing(error):
            raise
        _write_failure(job, key, ExportError(one_line(error), crashed=True))
    else:
        about = {**_about(job, key), "example": sizes_of(spec, example)}
        bundle.write(Path(job.folder), data, about, None)


def child() -> None:
    """Read jobs from standard input, export each, say so on the real standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    models: dict[str, Any] = {}
    asked = json.load(sys.stdin)
    confine(asked["memory"])
    for entry, key in asked["jobs"]:
        job = Job(**entry)
        _export(job, key, models)
        print(f"{_DONE}{job.name}", file=answers, flush=True)


if __name__ == "__main__":
    child()
