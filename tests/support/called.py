"""Functions for a child process: each takes what emits events, then its arguments."""

import os
import re
import signal
import subprocess
import sys
import time

from harness.core.errors import UsageError

_KEPT: list[int] = []


def counts(emit, number):
    """Emit every number below one; return how often this process was called."""
    for each in range(number):
        emit(each)
    _KEPT.append(number)
    return len(_KEPT)


def refuses(emit):
    raise UsageError("one line")


def raises(emit):
    print("before", flush=True)
    raise ValueError("a fault")


def prints(emit, size):
    sys.stdout.write("x" * size)
    sys.stdout.flush()
    return os.getpid()


def sleeps(emit, seconds=600):
    emit(os.getpid())
    time.sleep(seconds)


def holds_the_interpreter(emit):
    """Go on in one call of C code, in which no other thread runs, for more than a lifetime."""
    emit(os.getpid())
    re.fullmatch("(a+)+b", "a" * 60)


def is_killed(emit):
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def forks_another(emit):
    """Fork a process that is no process group's and no command's, and wait with it."""
    if other := os.fork():
        emit(other)
    else:
        os.setsid()
    time.sleep(600)


def looks_around(emit):
    """Return what a process was given: its flags, its handler of SIGTERM, what was kept before."""
    print("from the child", end="")
    return sys.flags.isolated, sys.flags.safe_path, signal.getsignal(signal.SIGTERM), list(_KEPT)


def starts_another(emit):
    """Start a process in a session of its own, as a library may, and wait with it."""
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    emit(other.pid)
    time.sleep(600)


def allocates(emit, size):
    return len(bytearray(size))


def reads(emit, name):
    return os.environ.get(name), list(sys.path), os.getcwd()
