"""Runtimes that take their process with them; run as a program, ``validate`` with them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import runtimes
from harness.commands.run import ended
from harness.core.schema import Arrays
from harness.validate import main as validate
from tests.support.planted import Outputs, right

FLOOD = 100 * 2**20


def segfault() -> None:
    print("the last words", file=sys.stderr, flush=True)
    ctypes.string_at(0)


def segfault_silently() -> None:
    ctypes.string_at(0)


def die() -> None:
    """As the interpreter does of an exception that nothing catches."""
    traceback.print_stack()
    print("PlantedError: a planted\nerror", file=sys.stderr, flush=True)
    os._exit(1)


def leave() -> None:
    os._exit(0)


def hang() -> None:
    if folder := os.environ.get("HARNESS_TEST_ISOLATION"):
        Path(folder, "hangs").touch()
    while True:
        time.sleep(60)


def hang_with_a_child() -> None:
    subprocess.Popen(["sleep", "600"])
    hang()


def fork() -> bool:
    """As a library in C does: Python is not told. Whether this is the new process."""
    return bool(ctypes.CDLL(None).fork() == 0)


def abort_with_a_child() -> None:
    if fork():
        time.sleep(600)
    os.abort()


def abort_with_a_session() -> None:
    if fork():
        os.setsid()
        time.sleep(600)
    os.abort()


def go_on_twice() -> None:
    if os.fork() == 0:
        time.sleep(0.5)


def start_a_session() -> None:
    subprocess.Popen(["sleep", "600"], start_new_session=True)


def eat() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(64 * 2**20))


def complain() -> None:
    """As ONNX Runtime does."""
    raise RuntimeError("void* Failed to allocate memory for requested buffer of size 4800000000")


def flood(descriptor: int) -> Callable[[], None]:
    def write() -> None:
        for _ in range(FLOOD // 2**16):
            os.write(descriptor, b"x" * 2**16)

    return write


def meet() -> None:
    """Wait for another process that does the same."""
    folder = Path(os.environ["HARNESS_TEST_ISOLATION"])
    (folder / f"here-{os.getpid()}").touch()
    while len(list(folder.glob("here-*"))) < 2:
        time.sleep(0.01)


def babble() -> None:
    """Less than a flood, and nothing that a reader of results should take for one."""
    os.write(1, os.urandom(2**16))
    print("\x00\x80\x04\x95 {'status': 'pass'}", flush=True)


@dataclass
class Session:
    runtime: Runtime
    bad: bool
    runs: int = 0

    def run(self, inputs: Arrays) -> Outputs:
        self.runs += 1
        if self.bad and self.runs == self.runtime.at:
            self.runtime.deed()
        return right(inputs)

    def evidence(self) -> dict[str, Any]:
        if self.bad and self.runtime.at == "evidence":
            self.runtime.deed()
        return {"pid": os.getpid()} if self.runtime.at == "pid" else dict(self.runtime.evidence)


@dataclass(frozen=True)
class Runtime:
    """Does its deed on files called ``bad.onnx``: at a run, counted from 1, or a named moment."""

    deed: Callable[[], None] = lambda: None
    at: int | str = 3
    evidence: tuple[tuple[str, Any], ...] = (("version", "planted"),)

    def check(self) -> str | None:
        return None

    def version(self) -> str:
        return "planted"

    def prepare(self, path: str) -> Session:
        bad = Path(path).name == "bad.onnx"
        if bad and self.at == "load":
            self.deed()
        return Session(self, bad)


CLEAN = Runtime()
SLOW = Runtime(lambda: time.sleep(2))
SEGFAULTS = Runtime(segfault)
SEGFAULTS_SILENTLY = Runtime(segfault_silently)
SEGFAULTS_AT_LOAD = Runtime(segfault, "load")
SEGFAULTS_AFTERWARDS = Runtime(segfault, "evidence")
ABORTS = Runtime(os.abort)
KILLED = Runtime(lambda: os.kill(os.getpid(), 9))
LEAVES = Runtime(leave)
LEAVES_AT_ONCE = Runtime(lambda: os._exit(7))
DIES = Runtime(die)
ABORTS_WITH_A_CHILD = Runtime(abort_with_a_child)
ABORTS_WITH_A_SESSION = Runtime(abort_with_a_session)
STARTS_A_SESSION = Runtime(start_a_session)
GOES_ON_TWICE = Runtime(go_on_twice, "load")
HANGS = Runtime(hang)
HANGS_AT_LOAD = Runtime(hang, "load")
HANGS_WITH_A_CHILD = Runtime(hang_with_a_child)
EATS = Runtime(eat)
EATS_AT_LOAD = Runtime(eat, "load")
LACKS_MEMORY = Runtime(complain)
LACKS_MEMORY_AT_LOAD = Runtime(complain, "load")
FLOODS_OUTPUT = Runtime(flood(1))
FLOODS_ERRORS = Runtime(flood(2))
MEETS = Runtime(meet)
MEETS_TOO = Runtime(meet)
BABBLES = Runtime(babble)
TELLS_ITS_PROCESS = Runtime(at="pid")

NAMES = [name for name, value in list(globals().items()) if isinstance(value, Runtime)]
TARGETS = {name.lower(): f"tests.support.planted_crashes:{name}" for name in NAMES}

if __name__ == "__main__":
    runtimes.RUNTIMES.update(TARGETS)
    if as_ort := os.environ.get("HARNESS_TEST_ORT_CPU"):
        runtimes.RUNTIMES["ort-cpu"] = TARGETS[as_ort]
    sys.exit(ended(validate))
