"""Ask a child process to load a model of one's own and make what is wanted of it.

The model's code and its framework run there, so that they can neither print over the report nor
take this process with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait

from harness.core.errors import ExportError, HarnessError, UnavailableError, UsageError
from harness.core.schema import Progress
from harness.processes.process import LOOK
from harness.recording.child import DONE, ERROR, PROGRESS, Job

MODULE = "harness.recording.child"
ERRORS: dict[int, type[HarnessError]] = {2: UsageError, 3: UnavailableError}


def make(job: Job, progress: Progress, seconds: float | None = None) -> None:
    """Fill the job's folder as ``making.make`` does; its errors are raised here.

    ExportError, by which a process was lost, where the child dies or takes more than ``seconds``.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        late = threading.Event()

        def stop() -> None:
            late.set()
            _kill(child)

        watch = threading.Timer(seconds, stop) if seconds else None
        try:
            if watch is not None:
                watch.start()
            last = _talk(child, job, progress)
        finally:
            _kill(child)
            child.wait()
            if watch is not None:
                watch.cancel()
        if last == DONE:
            return
        if last.startswith(ERROR):
            code, text = json.loads(last.removeprefix(ERROR))
            raise ERRORS.get(code, HarnessError)(text)
        log.seek(0)
        said = [line.strip() for line in log if line.strip()][-1:]
        how = f"took more than {seconds:g} s" if late.is_set() else _ended(child.returncode)
        told = "".join(f": {line}" for line in said if not late.is_set())
        raise ExportError(f"{job.source.text}: its process {how}{told}", crashed=True)


def _talk(child: subprocess.Popen[bytes], job: Job, progress: Progress) -> str:
    """Send the job and pass progress on until the child ends; its last line of another kind."""
    assert child.stdin is not None
    assert child.stdout is not None
    last = ""
    try:
        child.stdin.write(pickle.dumps(job))
        child.stdin.close()
    except BrokenPipeError:
        pass
    for line in _lines(child, child.stdout.fileno()):
        if line.startswith(PROGRESS):
            progress(line.removeprefix(PROGRESS))
        else:
            last = line
    child.wait()
    return last


def _lines(child: subprocess.Popen[bytes], answers: int) -> Iterator[str]:
    """What the child writes, until it ends: what it started may hold its pipe open."""
    said = b""
    while True:
        alive = child.poll() is None
        ready = wait([answers], LOOK)
        part = os.read(answers, 2**16) if ready else b""
        if not part and (ready or not alive):
            break
        *lines, said = (said + part).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    if said:
        yield said.decode(errors="replace")


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _ended(status: int) -> str:
    return f"ended with signal {-status}" if status < 0 else f"ended with exit code {status}"
