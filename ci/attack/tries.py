"""Tries of the project's commands on files from others, and what is wrong with how one ends.

Each try is a process forked from one that has the imports loaded, in a scratch folder of its own:
``in/`` holds the files, ``out/`` is the folder that the command may write to. What the project
starts as a child of ``harness.processes`` is forked too. Everything else is as in a fresh process.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
PLANTED = Path("/tmp/harness-attack-planted")
"""Where hostile absolute paths lead."""
MEMORY = 6 * 2**30
"""Bytes of data that a try may hold: what is read here takes megabytes."""
SECONDS = 60.0
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""Of the process that is forked: it must have no threads."""


@dataclass(frozen=True)
class Ended:
    """How a try ended: ``status`` is an exit code, the negative number of a signal, or None."""

    status: int | None
    out: str
    err: str
    seconds: float
    written: tuple[str, ...] = ()
    inner: str = ""


def warm(frameworks: Sequence[str] = ()) -> None:
    """Import what the commands import, so that a forked try need not."""
    os.environ.update(QUIET)
    names = ["validate", "export", "convert", "lint", "diagnose", "placement", "merge"]
    for path in sorted((ROOT / "harness").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        late = any(f"harness.{room}" in module for room in ("frameworks.", "exporters."))
        if not late and module.rpartition(".")[2] not in ("__main__", "__init__", "serve"):
            with suppress(ImportError):
                importlib.import_module(module)
    for name in names:
        importlib.import_module(f"harness.{name}")
    shown, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # TensorFlow logs from C++ whatever it is told
    for name in ("onnxruntime", "onnx.reference", "rich.console", *frameworks):
        importlib.import_module(name)
    os.dup2(shown, 2)
    os.close(shown)
    os.close(nowhere)
    gc.collect()
    gc.freeze()


def run(
    command: str,
    argv: Sequence[str],
    scratch: Path,
    seconds: float = SECONDS,
    folder: str | None = None,
    **env: str,
) -> Ended:
    """Run a command in ``scratch``; what it may not write there is listed in the result.

    Where a ``folder`` in it is given, that is a fresh process's; else the process is forked.
    """
    logs = scratch.with_name(f"{scratch.name}-log")
    shutil.rmtree(logs, ignore_errors=True)
    (logs / "tmp").mkdir(parents=True)
    before = _listing(scratch)
    started = time.monotonic()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pid = os.fork()
    if not pid:
        _command(command, argv, scratch, logs, env, folder)
    status = _wait(pid, seconds)
    texts = [
        path.read_text("utf-8", "replace") if path.is_file() else ""
        for path in (logs / "out", logs / "err", logs / "inner")
    ]
    after = _listing(scratch)
    changed = {*before.items()} ^ {*after.items()}
    written = sorted({path for path, _ in changed} | {str(p) for p in _planted()})
    shutil.rmtree(PLANTED, ignore_errors=True)
    out, err, inner = texts
    return Ended(status, out, err, time.monotonic() - started, tuple(written), inner)


def fresh(
    words: Sequence[str], folder: Path, seconds: float, env: dict[str, str] | None = None
) -> Ended:
    """Run ``python`` with some words in a fresh process, in ``folder``."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        status = None
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    texts = [text.decode("utf-8", "replace") for text in (out, err)]
    return Ended(status, texts[0], texts[1], time.monotonic() - started)


def _listing(scratch: Path) -> dict[str, tuple[int, int]]:
    """Return every file around a scratch folder but those that a command may write."""
    top = scratch.parents[2]
    free = {str(p) for p in (scratch / "out", scratch / "build", top / "build")}
    free |= {f"{scratch}-log"}
    found = {}
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if os.path.join(folder, name) not in free]
        for name in [*names, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            own = 0 if name in names else status.st_mtime_ns
            found[os.path.relpath(path, scratch)] = (status.st_size if own else 0, own)
    return found


def _planted() -> Iterator[Path]:
    return PLANTED.rglob("*") if PLANTED.exists() else iter(())


def _wait(pid: int, seconds: float) -> int | None:
    """Return how a child that leads a session ends; kill it, and what it started, in the end."""
    handle = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    if not (in_time := poller.poll(seconds * 1000)):
        with suppress(OSError):
            os.kill(pid, signal.SIGABRT)  # faulthandler shows where
        poller.poll(2000)
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(handle)
    return status if in_time else None


def _command(
    command: str,
    argv: Sequence[str],
    scratch: Path,
    logs: Path,
    env: dict[str, str],
    folder: str | None,
) -> NoReturn:
    """Be the process of a command."""
    status = 1
    try:
        os.setsid()
        _streams(os.open(logs / "out", os.O_WRONLY | os.O_CREAT), logs / "err")
        faulthandler.enable(2)
        os.chdir(scratch / (folder or "."))
        os.environ.update({"TMPDIR": str(logs / "tmp"), **env})
        limit = MEMORY * (2 if "tensorflow" in sys.modules else 1)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if folder is not None:
            os.environ["PYTHONPATH"] = str(ROOT)
            words = [sys.executable, "-X", "faulthandler", "-m", f"harness.{command}", *argv]
            os.execv(sys.executable, words)
        processes = importlib.import_module("harness.processes.process")
        Forked.log = logs / "inner"
        processes.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": _popen})
        sys.argv = [str(ROOT / "harness" / f"{command}.py"), *argv]
        from harness.commands.run import ended

        status = ended(importlib.import_module(f"harness.{command}").main, argv)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _streams(out: int, err: Path | int) -> None:
    """Give this process its standard streams."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT) if isinstance(err, Path) else err, 2)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        for number in (1, 2)
    )


def _popen(command: Sequence[str], **options: Any) -> Any:
    """Return a fork for a child of ``harness.processes``; any other command is started."""
    own = "-c" in command and any("harness.processes.child" in word for word in command)
    return Forked(command, **options) if own else subprocess.Popen(command, **options)


class Forked:
    """A child of ``harness.processes.worker`` as a fork, with what ``Process`` uses of a Popen."""

    log = Path()

    def __init__(
        self, command: Sequence[str], env: Any = None, pass_fds: Sequence[int] = (), **options: Any
    ) -> None:
        read, write = os.pipe()
        self.returncode: int | None = None
        self.stdout, self.stdin, self.stderr = os.fdopen(read, "rb", 0), None, None
        self.pid = os.fork()
        if not self.pid:
            self._be(list(command), env, {*pass_fds}, write)
        os.close(write)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("child", timeout or 0)
            time.sleep(0.002)
        return status

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _be(self, command: list[str], env: Any, kept: set[int], write: int) -> NoReturn:
        try:
            os.setsid()
            _streams(write, write)
            for name in os.listdir("/proc/self/fd"):
                if int(name) > 2 and int(name) not in kept:
                    with suppress(OSError):
                        os.close(int(name))
            if env is not None:
                os.environ.clear()
                os.environ.update(env)
            place = command.index("-c") + 1
            sys.argv = ["-c", *command[place + 1 :]]
            exec(command[place], {"__name__": "__main__"})
        except BaseException:
            text = traceback.format_exc()
            with suppress(OSError), open(self.log, "a") as log:
                log.write(text)
            with suppress(Exception):
                sys.stderr.write(text)
                sys.stderr.flush()
        os._exit(1)
