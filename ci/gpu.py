"""What ONNX Runtime does on this machine's GPU: conformance with TF32 off and on, the switch
itself, where the nodes ran, and latency beside the CPU. Called by ci/gpu.sh; see docs/gpu.md.

HARNESS_GPU_RUNTIME names another runtime than ort-cuda, to rehearse the job where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.commands import options
from harness.commands.run import Parser, ended
from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, StageError, UnavailableError, UsageError
from harness.core.schema import Arrays, Session
from harness.placing.partition import partition
from harness.runtimes import cuda, load, tf32_canary
from harness.runtimes.guard import GuardedRuntime
from harness.validation import pipeline
from harness.validation.job import Ready
from harness.validation.selection import Selection

SCHEMA = 1
EVIDENCE = Path("golden/evidence")
VARIABLE, CUDA, TENSORRT = "HARNESS_GPU_RUNTIME", "ort-cuda", "ort-tensorrt"
SWITCH = ["--provider-option", "use_tf32=1"]
LENGTHS = (1, 32, 127, 512, 2048)
"""Latency is measured at the batch-1 cases nearest to these, by their longest axis."""
AT_MOST = 30 * 1024
"""Bytes of the evidence."""


@dataclass
class Job:
    """The requested job, and the problems that it has come upon."""

    runtime: str
    models: Sequence[str]
    artifacts: Path
    folder: Path
    rounds: int
    problems: list[str] = field(default_factory=list)

    @property
    def rehearsal(self) -> bool:
        return self.runtime != CUDA


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="ci/gpu.sh", description=__doc__.partition("\n\n")[0])
    parser.add_argument("model", nargs="*", help="reference models (default: all)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=f"default: {EVIDENCE}/{CUDA}-GPU.json"
    )
    parser.add_argument("--artifacts", type=Path, default=options.ARTIFACTS, metavar="DIR")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("build/gpu"),
        metavar="DIR",
        help="where reports and outputs go",
    )
    parser.add_argument("--rounds", type=options.at_least_one, default=21, metavar="N")
    args: argparse.Namespace = parser.parse_args(argv)
    name = os.environ.get(VARIABLE, CUDA)
    job = Job(name, args.model, args.artifacts, args.folder, args.rounds)
    output = _output(job, args.output)
    runtime = load(name)
    if reason := runtime.check():
        raise UnavailableError(reason)
    about = {"name": "none"} if job.rehearsal else device()
    path = output or EVIDENCE / f"{CUDA}-{slug(about['name'])}.json"
    text = json.dumps({"device": about, **measured(job, runtime)}, separators=(",", ":")) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text)
    part.replace(path)
    if len(text) > AT_MOST:
        job.problems.append(f"{path} has {len(text):,} bytes, at most {AT_MOST:,}")
    for problem in job.problems:
        print(f"FAILS: {problem}")
    print(f"{path}: {len(job.problems)} problems")
    return DOES_NOT_CONFORM if job.problems else CONFORMS


def _output(job: Job, requested: Path | None) -> Path | None:
    if job.rehearsal and (requested is None or EVIDENCE.resolve() in requested.resolve().parents):
        raise UsageError(
            f"{VARIABLE}={job.runtime} is a rehearsal: it needs --output FILE outside {EVIDENCE}"
        )
    return requested


def measured(job: Job, runtime: GuardedRuntime) -> dict[str, Any]:
    """Return everything in the evidence but the device."""
    switched = [] if job.rehearsal else SWITCH
    off, report = _validated(job, job.runtime, [], "off")
    on, _ = _validated(job, job.runtime, switched, "on")
    absent = load(TENSORRT).check()
    tensorrt = {"unavailable": absent} if absent else _validated(job, TENSORRT, [], "tensorrt")[0]
    _say("canary")
    turned = runtime if job.rehearsal else runtime.configured(provider={"use_tf32": "1"})
    assert turned is not None
    canary = tf32_canary.run(runtime, turned)
    job.problems += [f"canary {n}: {p['verdict']}" for n, p in canary.items() if p["verdict"]]
    selection = Selection(subjects=job.models, runtimes=[job.runtime], artifacts=job.artifacts)
    ready = [j for j in pipeline.prepare(selection, _say).jobs if isinstance(j, Ready)]
    _say("placement")
    where = placement(ready, {result["id"]: result["evidence"] for result in report["results"]})
    return {
        "schema": SCHEMA,
        "rehearsal": job.rehearsal,
        "runtime": job.runtime,
        "environment": report["environment"],
        "validations": {"tf32_off": off, "tf32_on": on, TENSORRT: tensorrt},
        "canary": canary,
        "placement": where,
        "latency": latency(ready, runtime, job.rounds),
    }


def _validated(
    job: Job, runtime: str, flags: Sequence[str], label: str
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return a validation's digest and report; raise its exit code where it has none."""
    folder = job.folder / label
    call = ["-m", "harness.validate", *job.models, "--runtime", runtime, *flags, "-q"]
    call += ["--artifacts", str(job.artifacts), "--report-dir", str(folder / "report")]
    call += ["--save-outputs", str(folder / "outputs")]
    _say(f"python {' '.join(call)}")
    code = subprocess.run([sys.executable, *call], check=False).returncode
    if code not in (CONFORMS, DOES_NOT_CONFORM):
        ended = UsageError(f"validation of {runtime} ({label}) ended with exit code {code}")
        ended.exit_code = code
        raise ended
    report = json.loads((folder / "report/report.json").read_text())
    if code:
        job.problems.append(f"{runtime} ({label}): see {folder}/report/report.json")
    return digest(report), report


def digest(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary and, for each cell, its status, worst ratio and that in noise floors."""
    cells: dict[str, Any] = {}
    rows, tf32 = {}, set()
    for result in report["results"]:
        evidence = result["evidence"]
        cell = {"status": result["status"]}
        if ratios := [o["ratio"] for case in result["cases"] for o in case["outputs"]]:
            row = evidence["tolerance"]
            rows[row["row"]] = row["k"]
            tf32.add(evidence.get("tf32"))
            cell["ratio"] = _short(max(ratios))
            cell["floors"] = _short(max(ratios) * row["k"])
        if result["status"] != "pass":
            cell["reason"] = f"{result['stage']}: {result['reason']}"[:200]
        cells[result["id"].rpartition("/")[0]] = cell
    return {
        "rows": dict(sorted(rows.items())),
        "tf32": sorted(tf32, key=str),
        "summary": report["summary"],
        "cells": cells,
    }


def placement(jobs: Iterable[Ready], ran: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return where the nodes ran, and where the stored table and a partition differ."""
    judged = [j for j in jobs if "nodes_by_provider" in ran[j.cell.id]]
    counts = {j.cell.id.rpartition("/")[0]: ran[j.cell.id] for j in judged}
    nodes = {cell: evidence["nodes_by_provider"] for cell, evidence in counts.items()}
    prediction: dict[str, Any] = {
        "nodes_by_provider": nodes,
        "table": {
            "by": sorted({str(e.get("placement_predicted_by")) for e in counts.values()}),
            "differs": {c: d for c, e in counts.items() if (d := e.get("placement_differs"))},
        },
    }
    try:
        versions, placed = partition([j.model for j in judged if j.model])
    except UnavailableError as error:
        return {**prediction, "partitioner": {"unavailable": str(error)}}
    differs = {}
    for (cell, counted), each in zip(nodes.items(), placed, strict=True):
        if each.error or each.summary() != counted:
            differs[cell] = each.error or "other numbers by provider and operator"
    return {**prediction, "partitioner": {**versions.as_dict(), "differs": differs}}


def latency(jobs: Iterable[Ready], runtime: GuardedRuntime, rounds: int) -> dict[str, Any]:
    """Return microseconds of a run on the CPU and on the device, by cell and longest axis.

    A run takes its inputs from and leaves its outputs in the machine's memory. Both take turns;
    the third figure is the median of the ratios of runs that follow one another.
    """
    cells: dict[str, Any] = {}
    for ready in jobs:
        cell = ready.cell.id.rpartition("/")[0]
        _say(f"latency {cell}")
        try:
            cpu, device_session = (
                load("ort-cpu").prepare(str(ready.model)),
                runtime.prepare(str(ready.model)),
            )
            cells[cell] = {
                str(length): paired(cpu, device_session, inputs, rounds)
                for length, inputs in timed(ready).items()
            }
        except StageError as error:
            cells[cell] = {"failure": str(error)}
    order = ["cpu_us", "device_us", "cpu_over_device"]
    return {"batch": 1, "rounds": rounds, "median": order, "cells": cells}


def timed(job: Ready) -> dict[int, Arrays]:
    """Return the inputs of batch 1 at the lengths nearest to ``LENGTHS``, by length."""
    alone = {max(case.lengths.values()): case for case in job.cases if case.batch == 1}
    chosen = {min(alone, key=lambda n: abs(n - target)) for target in LENGTHS if alone}
    return {length: job.golden.load(alone[length]).inputs for length in sorted(chosen)}


def paired(cpu: Session, device_session: Session, inputs: Arrays, rounds: int) -> list[float]:
    """Return median microseconds of each, and the median of the ratios of first to second."""
    sessions = {"cpu": cpu, "other": device_session}
    for session in sessions.values():
        session.run(inputs)
    pairs = []
    for number in range(rounds):
        took = {}
        for name in sorted(sessions, reverse=bool(number % 2)):
            before = time.perf_counter()
            sessions[name].run(inputs)
            took[name] = 1e6 * (time.perf_counter() - before)
        pairs.append((took["cpu"], took["other"]))
    medians = [statistics.median(each) for each in zip(*pairs, strict=True)]
    return [_short(x) for x in (*medians, statistics.median(a / b for a, b in pairs))]


def device() -> dict[str, Any]:
    """Return the GPU and its libraries; UnavailableError where the driver does not name it."""
    import onnxruntime

    facts = cuda.about(onnxruntime.cuda_version)
    if facts["name"] is None:
        raise UnavailableError("the NVIDIA driver does not tell the name of its device")
    return facts


def slug(name: str) -> str:
    """Return a GPU's name as part of a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(ended(main))
