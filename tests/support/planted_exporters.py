"""Exporters that crash, fail or succeed, and what stands for their framework and their twin."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from harness.core.errors import ExportError
from harness.exporting import bundle
from tests.support import doubler


def crash(model, spec, example, opset):
    print("the last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(model, spec, example, opset):
    os._exit(7)


def fork(model, spec, example, opset):
    """Dies while what it forked, as a library in C does, holds its pipes open."""
    if ctypes.CDLL(None).fork() == 0:
        time.sleep(600)
    os.abort()


def refuse(model, spec, example, opset):
    raise ExportError("this layer cannot be exported")


def stumble(model, spec, example, opset):
    raise KeyError("a bug\nwith two lines")


def hang(model, spec, example, opset):
    started = subprocess.Popen(["sleep", "600"])
    print(f"waits for {started.pid}", file=sys.stderr, flush=True)
    time.sleep(600)


def hoard(model, spec, example, opset):
    return np.zeros(3 * 2**30, np.uint8)


def wrapped(model, spec, example, opset):
    """As an exporter that turns what it meets into an error of its own."""
    try:
        hoard(model, spec, example, opset)
    except Exception as error:
        raise ExportError("something went wrong") from error


def full(model, spec, example, opset):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "scratch")


def inside(model, spec, example, opset):
    """As an exporter in which the library that it calls has its own words for what it met."""
    try:
        try:
            full(model, spec, example, opset)
        except OSError as error:
            raise RuntimeError("cannot serialize") from error
    except RuntimeError as error:
        raise ExportError("something went wrong") from error


def mute(model, spec, example, opset):
    """As Python's own inspection of a function without source: no file was refused."""
    raise ExportError("lambdas are not supported") from OSError("could not get source code")


def flood(model, spec, example, opset):
    while True:
        os.write(2, b"noise\n" * 2**16)


def succeed(model, spec, example, opset):
    print("noise on standard output")
    return doubler.graph()


def cut(model, spec, example, opset):
    """Killed when the model is written and its manifest is about to be."""
    written = Path.write_text

    def write_text(path, *arguments, **options):
        if path.name == bundle.MANIFEST:
            os.kill(os.getpid(), signal.SIGKILL)
        return written(path, *arguments, **options)

    Path.write_text = write_text
    return doubler.graph()


def build(twin, spec, parameters):
    """Stands for a framework's adapter."""


NAMES = ("crash", "leave", "refuse", "stumble", "succeed")
LIMITED = ("fork", "hang", "hoard", "wrapped", "full", "inside", "mute", "flood")
TARGETS = {
    f"{name}/torch": f"tests.support.planted_exporters:{name}" for name in (*NAMES, *LIMITED, "cut")
}
