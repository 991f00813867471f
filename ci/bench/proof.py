"""What export and proof of a model cost, as a multiple of three passes over the same cases.

The passes are one of PyTorch in float32, one in float64 and one of ONNX Runtime, each over every
case of the golden that the export left, in a script of their own. Of both, the processor time of
the whole process tree counts, its start too; everything has one OpenMP thread.

Peak memory is what the export's tree takes beyond that of a tiny model, pages that processes share
counting once; over the model's file and one batch: what the float32 pass over the largest case adds
to the peak of the script. Validation is that of the bundle on one thread: its processor time beyond
that of a tiny bundle, over the script's load of the model and its pass in ONNX Runtime.

Usage: python ci/bench/proof.py [MODEL ...] [--rounds N]. Ends with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

AT_MOST = 4.0
MEMORY_AT_MOST = 3.0
VALIDATION_AT_MOST = 1.3
ENOUGH = 0.5
"""Seconds of loads and runs from which validation is held to its target"""
MODELS = Path(__file__).with_name("proof_models.py")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For each process: threads of OpenMP that wait for others would count as work."""
_SET_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of linux/prctl.h"""
EVERY = 0.05
"""Seconds between two looks at the memory of a process tree"""
PASSES = """
import copy, json, resource, runpy, sys, time
import numpy as np, onnxruntime, torch
name, models, model, cases = sys.argv[1:]
torch.set_num_threads(1)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
net = runpy.run_path(models)[name]()
wide = copy.deepcopy(net).double()
began = time.process_time()
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
load = time.process_time() - began
names = [value.name for value in session.get_inputs()]
stored = np.load(cases)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def eager(net, arrays, dtype):
    tensors = [torch.from_numpy(a) for a in arrays]
    with torch.inference_mode():
        net(*(t.to(dtype) if t.is_floating_point() else t for t in tensors))
drawn = [[stored[f"{n}/{name}"] for name in names] for n in range(len(stored.files) // len(names))]
before = peak()
eager(net, max(drawn, key=lambda arrays: sum(a.nbytes for a in arrays)), torch.float32)
batch, seconds = peak() - before, {}
for what, run in (
    ("float32", lambda arrays: eager(net, arrays, torch.float32)),
    ("float64", lambda arrays: eager(wide, arrays, torch.float64)),
    ("ONNX Runtime", lambda arrays: session.run(None, dict(zip(names, arrays)))),
):
    began = time.process_time()
    for arrays in drawn:
        run(arrays)
    seconds[what] = time.process_time() - began
print(json.dumps({"batch": batch, "seconds": seconds, "cases": len(drawn), "load": load}))
"""


@dataclass(frozen=True)
class Cost:
    """What a process tree took: seconds, and bytes at its peak."""

    processor: float
    wall: float
    peak: int
    output: str


def measured(command: Sequence[str]) -> Cost:
    """Run a command and return its cost; it may end with 1, for a model that does not conform."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    peaks = [0]

    def look() -> None:
        while process.poll() is None:
            peaks[0] = max(peaks[0], sum(map(_own_bytes, _tree(process.pid))))
            time.sleep(EVERY)

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    output = process.communicate()[0]
    watch.join()
    _reap()
    if process.returncode not in (0, 1):
        raise SystemExit(f"{command[1:4]} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(processor, time.perf_counter() - began, peaks[0], output)


def _adopt() -> None:
    """Become the parent of what loses its own, so that its processor time counts once it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this system keeps no processes without a parent")


def _reap() -> None:
    """Wait for every process that was adopted; no other is left once a command has ended."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _tree(root: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for process in found:
        found.extend(children.get(process, ()))
    return found


def _own_bytes(process: int) -> int:
    """Return a process's memory, of what it shares its share; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def exported(name: str, folder: Path, *more: str) -> Cost:
    from ci.bench.proof_models import INPUTS

    command = [sys.executable, "-m", "harness.export", f"{MODELS}:{name}", "-o", str(folder), "-q"]
    for text in INPUTS[name]:
        command += ["--input", text]
    return measured([*command, *more])


def passes(name: str, folder: Path, scratch: Path) -> tuple[Cost, dict[str, object]]:
    """Run the three passes over the cases of a bundle's golden, or of a rejected model's."""
    import numpy as np

    from harness.exporting import bundle
    from harness.goldens import store

    golden = store.read(folder / bundle.GOLDEN)
    cases = scratch / "cases.npz"
    arrays = {
        f"{number}/{name}": value
        for number, case in enumerate(golden.cases)
        for name, value in golden.load(case).inputs.items()
    }
    np.savez(cases, **arrays)
    cost = measured(
        [sys.executable, "-c", PASSES, name, str(MODELS), str(_model(folder)), str(cases)]
    )
    return cost, json.loads(cost.output)


def _model(folder: Path) -> Path:
    return next(p for n in ("model.onnx", "rejected.onnx") if (p := folder / n).is_file())


def validated(folder: Path) -> Cost:
    words = ["-m", "harness.validate", str(folder), "--intra-op-threads", "1", "-q"]
    return measured([sys.executable, *words, "--report-dir", str(folder.with_name("report"))])


def main() -> int:
    from ci.bench.proof_models import INPUTS
    from harness.commands.run import Parser

    parser = Parser(description=__doc__.splitlines()[0])
    names = [name for name in INPUTS if name != "tiny"]
    parser.add_argument("model", nargs="*", help=f"default: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=3)
    args: argparse.Namespace = parser.parse_args()
    _adopt()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tiny"
        start = exported("tiny", folder, "--lengths", "1,2", "--batch", "1"), validated(folder)
    kept = True
    for name in args.model or names:
        with tempfile.TemporaryDirectory() as scratch:
            kept &= compared(name, args.rounds, Path(scratch), start)
    return int(not kept)


def compared(name: str, rounds: int, scratch: Path, start: tuple[Cost, Cost]) -> bool:
    """Print what a model costs beside a tiny one; return whether it is within the targets."""
    folder, rows = scratch / "bundle", []
    for _ in range(rounds):
        whole = exported(name, folder)
        part, about = passes(name, folder, scratch)
        rows.append((whole, part, about, validated(folder)))
    within = [sum(about["seconds"].values()) for _, _, about, _ in rows]
    loads = [about["load"] + about["seconds"]["ONNX Runtime"] for _, _, about, _ in rows]
    size, batch = _model(folder).stat().st_size, max(row[2]["batch"] for row in rows)
    processor = statistics.median(whole.processor / part.processor for whole, part, *_ in rows)
    memory = statistics.median(row[0].peak - start[0].peak for row in rows) / (size + batch)
    again = statistics.median(
        (row[3].processor - start[1].processor) / seconds
        for row, seconds in zip(rows, loads, strict=True)
    )
    whole, part, about, validation = rows[0]
    seconds = ", ".join(f"{what} {value:.2f} s" for what, value in about["seconds"].items())
    wall = statistics.median(whole.wall / part.wall for whole, part, *_ in rows)
    bare = statistics.median(
        row[0].processor / seconds for row, seconds in zip(rows, within, strict=True)
    )
    print(
        f"{name}: {about['cases']} cases, model of {size / 1e6:.1f} MB, batch of"
        f" {batch / 1e6:.1f} MB\n"
        f"  export {whole.processor:.1f} s of processor, {whole.wall:.1f} s; passes"
        f" {part.processor:.1f} s, {part.wall:.1f} s ({seconds})\n"
        f"  processor {processor:.2f} times the passes, at most {AT_MOST:g}; wall {wall:.2f};"
        f" without the start of the passes' script {bare:.1f}\n"
        f"  memory {whole.peak / 1e6:.0f} MB, of a tiny model {start[0].peak / 1e6:.0f} MB; beyond"
        f" that {memory:.1f} times model and batch, at most {MEMORY_AT_MOST:g}\n"
        f"  validation {validation.processor:.1f} s of processor, of a tiny bundle"
        f" {start[1].processor:.1f} s; beyond that {again:.2f} times loads and runs"
        f" ({loads[0]:.2f} s), at most {VALIDATION_AT_MOST:g}",
        flush=True,
    )
    quick = again <= VALIDATION_AT_MOST or loads[0] < ENOUGH
    return processor <= AT_MOST and memory <= MEMORY_AT_MOST and quick


if __name__ == "__main__":
    sys.exit(main())
