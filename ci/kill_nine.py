"""What ``kill -9`` leaves behind: no golden, cache entry or bundle that is read and is not whole.

``validate``, ``export`` and ``record --new-cases`` of one small model run in a scratch folder and
are killed, with what they started, TIMES each. Half of the moments are drawn evenly from the run's
whole duration, half from the milliseconds after it begins to write. After each kill everything
there is read by the project's own readers. What they accept must equal, tensor by tensor or byte by
byte, what an undisturbed run writes; a golden that was there must still be there. At last the
command must succeed on what was left.

Usage: python ci/kill_nine.py [TIMES [COMMAND …]]
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from harness.core.errors import GoldenError, UsageError
from harness.exporting import bundle
from harness.goldens import store

ROOT = Path(__file__).resolve().parents[1]
MODEL, FRAMEWORK = "gru_tagger", "torch"
GOLDEN = Path("golden", MODEL, FRAMEWORK)
ENTRY = Path("build/artifacts", MODEL, FRAMEWORK, "native/fp32")
SHIPPED = Path("shipped")
COMMANDS = {
    "validate": [MODEL, "--framework", FRAMEWORK, "--runtime", "ort-cpu", "-q"],
    "export": [MODEL, "--framework", FRAMEWORK, "--runtime", "ort-cpu", "-o", str(SHIPPED)],
    "record": [MODEL, "--framework", FRAMEWORK, "--new-cases", "-q"],
}
WRITES = {"validate": ENTRY, "export": SHIPPED, "record": GOLDEN}
AFTER_THE_FIRST_WRITE = 0.01
"""Seconds within which an aimed kill falls, from when the new folder is seen: a write takes less"""


class NotWholeError(Exception):
    """Something was accepted that is not what was written, or is gone."""


def start(command: str, scratch: Path) -> subprocess.Popen[bytes]:
    """Start a command in ``scratch``, the leader of a process group of its own.

    The last bits of a sum in float64 depend on the number of threads that share it.
    """
    return subprocess.Popen(
        [sys.executable, "-m", f"harness.{command}", *COMMANDS[command]],
        cwd=scratch,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def undisturbed(command: str, scratch: Path) -> float:
    """Run a command to its end; the seconds that it takes."""
    started = time.perf_counter()
    if status := start(command, scratch).wait():
        raise NotWholeError(f"harness.{command} ends with exit code {status}")
    return time.perf_counter() - started


def spoil(command: str, scratch: Path) -> None:
    """Have the next run write: over an older entry or bundle, or, as often, where there is none."""
    folder = scratch / WRITES[command]
    if command == "record":
        return
    if random.random() < 0.5:
        shutil.rmtree(folder, ignore_errors=True)
    elif command == "validate" and (folder / bundle.MANIFEST).is_file():
        manifest = json.loads((folder / bundle.MANIFEST).read_text())
        (folder / bundle.MANIFEST).write_text(json.dumps({**manifest, "key": {}}))


def kill(command: str, scratch: Path, seconds: float, aimed: bool) -> bool:
    """Kill a run at a random moment; False where it had ended before."""
    target = scratch / WRITES[command]
    earlier = set(target.parent.glob(f".{target.name}-*"))
    process = start(command, scratch)
    if aimed:
        while process.poll() is None and not set(target.parent.glob(f".{target.name}-*")) - earlier:
            time.sleep(0.0005)
        time.sleep(random.uniform(0, AFTER_THE_FIRST_WRITE))
    else:
        time.sleep(random.uniform(0, seconds))
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running


def contents(folder: Path) -> dict[str, bytes]:
    """Return every tensor of a golden, as its reader gives it; GoldenError where it refuses."""
    read = store.read(folder)
    tensors = {f"weight {name}": v.tobytes() for name, v in read.parameters().items()}
    for case in read.cases:
        loaded = read.load(case)
        for kind, arrays in (("input", loaded.inputs), ("output", loaded.outputs)):
            tensors |= {f"{case.id} {kind} {name}": v.tobytes() for name, v in arrays.items()}
    return tensors


def model_of(folder: Path) -> bytes:
    """Return the model of a cache entry or a bundle; UsageError where its reader refuses it."""
    return bundle.read(folder).model.read_bytes()


def shipment(folder: Path) -> tuple[bytes, dict[str, bytes]]:
    """Return the model of a bundle and the outputs of its golden, which has no weights."""
    read = store.read(folder / bundle.GOLDEN)
    outputs = {
        f"{case.id} {name}": value.tobytes()
        for case in read.cases
        for name, value in read.load(case).outputs.items()
    }
    return model_of(folder), outputs


def judged(read: Callable[[Path], object], folder: Path, right: object, must: bool = False) -> str:
    """Return ``whole``, ``absent`` or ``refused``; what ``must`` be there is whole.

    NotWholeError where the reader accepts anything but what is ``right``.
    """
    try:
        content = read(folder)
    except (GoldenError, UsageError) as error:
        if must:
            raise NotWholeError(f"{folder} was there and is refused: {error}") from None
        return "refused" if folder.exists() else "absent"
    if content != right:
        raise NotWholeError(f"{folder} is accepted and is not what was written")
    return "whole"


def main() -> int:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    random.seed(0)
    with tempfile.TemporaryDirectory(prefix="kill_nine_") as folder:
        scratch = Path(folder)
        shutil.copytree(ROOT / GOLDEN, scratch / GOLDEN)
        undisturbed("export", scratch)
        for command in sys.argv[2:] or COMMANDS:
            if command != "record":
                shutil.rmtree(scratch / WRITES[command])
            seconds = undisturbed(command, scratch)
            right = (
                contents(scratch / GOLDEN),
                model_of(scratch / ENTRY),
                shipment(scratch / SHIPPED),
            )
            counts: Counter[str] = Counter()
            number = 0
            while number < times:
                spoil(command, scratch)
                if not kill(command, scratch, seconds, aimed=number % 2 == 1):
                    continue
                number += 1
                counts[f"golden {judged(contents, scratch / GOLDEN, right[0], must=True)}"] += 1
                counts[f"cache entry {judged(model_of, scratch / ENTRY, right[1])}"] += 1
                counts[f"bundle {judged(shipment, scratch / SHIPPED, right[2])}"] += 1
            left = [path for path in scratch.rglob(".*-*") if path.is_dir()]
            for path in left:
                reader, expected = (
                    (contents, right[0]) if "golden" in path.parts else (model_of, right[1])
                )
                counts[f"unfinished folder {judged(reader, path, expected)}"] += 1
            undisturbed(command, scratch)
            listed = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
            print(f"{command}: {times} kills of a run of {seconds:.1f} s: {listed}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotWholeError as error:
        sys.exit(f"error: {error}")
