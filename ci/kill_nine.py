"""What ``kill -9`` of a command leaves: nothing half-written that is read, no process, no litter.

Each command runs in a scratch folder and is killed TIMES. Half of the moments are drawn evenly from
the run's whole duration, half from the milliseconds after it begins to write. After each kill what
is there is read by the project's own readers. What they accept must equal, tensor by tensor or byte
by byte, what an undisturbed run writes; what was there before is still there, or the new is. No
process that the command started lives two seconds later. At last the command must succeed on what
was left, and remove what the killed ones left unfinished.

``hangs`` exports a model whose forward never ends, in Python or in a call that keeps other threads
from running; half of its kills come during that.

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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from harness.core.errors import GoldenError, UsageError
from harness.exporting import bundle
from harness.goldens import store
from harness.reports import json_file

ROOT = Path(__file__).resolve().parents[1]
MODEL, FRAMEWORK = "gru_tagger", "torch"
GOLDEN = Path("golden", MODEL, FRAMEWORK)
ENTRY = Path("build/artifacts", MODEL, FRAMEWORK, "native/fp32")
REPORT = Path("build/report", json_file.NAME)
BEGUN = "endless.begun"
ORT = ["--runtime", "ort-cpu"]
DESCRIBED = ["--input", "x: float32[batch, time, 4]", "--lengths", "1,3", *ORT]
TAGGER = [MODEL, "--framework", FRAMEWORK]
GRACE = 2.0
"""Seconds after a kill in which what the command started may still be ending."""
AFTER_THE_FIRST_WRITE = 0.01
"""Seconds within which an aimed kill falls, from when a new name is seen: a write takes less."""
MARK, PROCESSES = "KILL_NINE", Path("/proc")


class NotWholeError(Exception):
    """Something was accepted that is not what was written, or is gone, or lives on."""


def golden_in(folder: Path) -> dict[str, bytes]:
    """Return every tensor of a golden, as its reader gives it; GoldenError where it refuses."""
    read = store.read(folder)
    tensors = {f"weight {name}": v.tobytes() for name, v in read.parameters().items()}
    for case in read.cases:
        loaded = read.load(case)
        for kind, arrays in (("input", loaded.inputs), ("output", loaded.outputs)):
            tensors |= {f"{case.id} {kind} {name}": v.tobytes() for name, v in arrays.items()}
    return tensors


def model_in(folder: Path) -> bytes:
    """Return the model of a cache entry or a bundle; UsageError where its reader refuses it."""
    return bundle.read(folder).model.read_bytes()


def bundle_in(folder: Path) -> tuple[bytes, dict[str, bytes]]:
    """Return the model of a bundle and the outputs of its golden, which has no weights."""
    read = store.read(folder / bundle.GOLDEN)
    outputs = {
        f"{case.id} {name}": value.tobytes()
        for case in read.cases
        for name, value in read.load(case).outputs.items()
    }
    return model_in(folder), outputs


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of every file; UsageError where there is no folder."""
    if not folder.is_dir():
        raise UsageError("absent")
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def report_in(path: Path) -> list[tuple[str, str, int]]:
    """Return every cell of a report with its status and number of cases; UsageError if refused."""
    return [(r.cell.id, r.status.value, len(r.cases)) for r in json_file.read(path).results]


@dataclass(frozen=True)
class Command:
    """A call, the place that it writes, and what reads that place.

    ``kept`` is what must be whole at any time. A call that never ends has another one, ``again``,
    that writes the same. ``first`` are the names with which writing begins.
    """

    call: Sequence[str]
    writes: Path
    read: Callable[[Path], object]
    kept: Sequence[tuple[Path, Callable[[Path], object]]] = ()
    again: Sequence[str] = ()
    first: str = ".*-*"


def export(factory: str, place: str) -> list[str]:
    own = ROOT / "tests/support/own_torch.py"
    return ["export", f"{own}:{factory}", *DESCRIBED, "-o", place, "-q"]


COMMANDS = {
    "validate": Command(["validate", *TAGGER, *ORT, "-q"], ENTRY, model_in, [(GOLDEN, golden_in)]),
    "workers": Command(
        ["validate", "shipped", "--runtime", "ort-cpu,onnx-reference", "--workers", "2", "-q"],
        *(REPORT, report_in, [(Path("shipped"), bundle_in)]),
        first="*",
    ),
    "export": Command(["export", *TAGGER, *ORT, "-o", "new", "-q"], Path("new"), bundle_in),
    "own": Command(export("net", "own"), Path("own"), bundle_in),
    "hangs": Command(
        export("endless", "o"), Path("o"), bundle_in, again=export("net", "o"), first=BEGUN
    ),
    "record": Command(["record", *TAGGER, "--new-cases", "-q"], GOLDEN, golden_in),
    "convert": Command(["convert", "shipped", "-o", "tests"], Path("tests"), files_in),
    "merge": Command(
        ["merge", "reports/ort-cpu.json", "reports/onnx-reference.json", "-o", "merged", "-q"],
        *(Path("merged", json_file.NAME), report_in),
        first="*",
    ),
}


def start(call: Sequence[str], scratch: Path, mark: str) -> subprocess.Popen[bytes]:
    """Start a command in ``scratch``, with ``mark`` in the environment of all that it starts.

    The last bits of a sum in float64 depend on the number of threads that share it.
    """
    environment = {MARK: mark, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", f"harness.{call[0]}", *call[1:]],
        cwd=scratch,
        env={**os.environ, **environment, "TMPDIR": str(scratch / "tmp")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def undisturbed(call: Sequence[str], scratch: Path) -> float:
    """Run a command to its end; return the seconds that it takes."""
    started = time.perf_counter()
    if status := start(call, scratch, "").wait():
        raise NotWholeError(f"harness {' '.join(call)} ends with exit code {status}")
    return time.perf_counter() - started


def alive(mark: str) -> list[int]:
    """Return the processes that have the mark; one that has ended has no environment."""
    found = []
    for environ in PROCESSES.glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
    return found


def unfinished(scratch: Path) -> list[Path]:
    """Return what killed runs left beside their outputs and in the folder for temporary files."""
    beside = [p for p in scratch.rglob(".*-*") if not p.is_relative_to(scratch / "tmp")]
    return [*beside, *(scratch / "tmp").glob("harness-*")]


def spoil(name: str, command: Command, scratch: Path) -> bool:
    """Have the next run write, with an older output or, as often, none; return whether it stays."""
    place = scratch / command.writes
    if name == "record":
        return True
    if name == "convert" or random.random() < 0.5:
        shutil.rmtree(place if place.suffix != ".json" else place.parent, ignore_errors=True)
    elif name == "validate" and (place / bundle.MANIFEST).is_file():
        manifest = json.loads((place / bundle.MANIFEST).read_text())
        (place / bundle.MANIFEST).write_text(json.dumps({**manifest, "key": {}}))
    return place.exists()


def wait_for(pattern: str, place: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until there is a new name beside ``place``, or the run ends."""
    earlier = set(place.parent.glob(pattern))
    while process.poll() is None and not set(place.parent.glob(pattern)) - earlier:
        time.sleep(0.0005)


def kill(command: Command, scratch: Path, seconds: float, aimed: bool) -> bool:
    """Kill a run at a random moment; return False where it had ended before.

    NotWholeError where a process that it started lives on.
    """
    mark = uuid4().hex
    (scratch / BEGUN).unlink(missing_ok=True)
    process = start(command.call, scratch, mark)
    if aimed:
        wait_for(command.first, scratch / command.writes, process)
        time.sleep(random.uniform(0, AFTER_THE_FIRST_WRITE))
    else:
        with suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0, seconds))
    process.kill()
    if (status := process.wait()) not in (0, -signal.SIGKILL):
        raise NotWholeError(f"harness {' '.join(command.call)} ends with exit code {status}")
    ends = time.monotonic() + GRACE
    while (left := alive(mark)) and time.monotonic() < ends:
        time.sleep(0.01)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if left:
        raise NotWholeError(f"{len(left)} processes live on {GRACE:g} s after the kill")
    return status != 0


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


def prepare(scratch: Path) -> None:
    """Make what the commands start from: a golden, a bundle, two reports."""
    shutil.copytree(ROOT / GOLDEN, scratch / GOLDEN)
    (scratch / "tmp").mkdir()
    (scratch / "reports").mkdir()
    undisturbed(export("net", "shipped"), scratch)
    for runtime in ("ort-cpu", "onnx-reference"):
        call = ["validate", "shipped", "--runtime", runtime, "--report-dir", "reports", "-q"]
        undisturbed(call, scratch)
        (scratch / "reports" / json_file.NAME).rename(scratch / f"reports/{runtime}.json")


def tried(name: str, times: int, scratch: Path) -> str:
    """Kill a command so many times; return what was found, in one line."""
    command = COMMANDS[name]
    place = scratch / command.writes
    call = command.again or command.call
    seconds = undisturbed(call, scratch)
    right = command.read(place)
    kept = [(scratch / path, read, read(scratch / path)) for path, read in command.kept]
    counts: Counter[str] = Counter()
    while counts["kills"] < times:
        older = spoil(name, command, scratch)
        started = time.perf_counter()
        if not kill(command, scratch, seconds, aimed=counts["kills"] % 2 == 1):
            seconds = min(seconds, time.perf_counter() - started)
            continue
        counts["kills"] += 1
        counts[judged(command.read, place, right, must=older and name != "validate")] += 1
        for path, read, content in kept:
            judged(read, path, content, must=True)
        counts["with litter"] += bool(unfinished(scratch))
    spoil(name, command, scratch)
    undisturbed(call, scratch)
    if remains := unfinished(scratch):
        raise NotWholeError(f"{name}: the next run leaves {', '.join(map(str, remains))}")
    found = ", ".join(f"{number} {what}" for what, number in counts.items())
    return f"{name}: a run of {seconds:.1f} s, {found}; none after the next run"


def main() -> int:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    random.seed(0)
    with tempfile.TemporaryDirectory(prefix="kill_nine_") as folder:
        prepare(Path(folder))
        for name in sys.argv[2:] or COMMANDS:
            print(tried(name, times, Path(folder)), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotWholeError as error:
        sys.exit(f"error: {error}")
