"""``python -m harness.isolated DESCRIPTOR BYTES``: judges cells for ``harness.isolate``.

It reads ``(Setup or None, Work)`` from the connection at DESCRIPTOR, the setup with the first, and
answers each by the engine's events and then the cell's result, pickled. It may have BYTES of data,
leaves no core dump, and ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

from harness import engine
from harness.engine import Work
from harness.isolate import Setup
from harness.runtimes import RUNTIMES, load
from harness.schema import Runtime

_PR_SET_PDEATHSIG = 1


def main() -> None:
    descriptor, memory = map(int, sys.argv[1:])
    os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _end_with_the_parent()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, memory)
    runtimes: dict[str, Runtime] = {}
    with Connection(descriptor) as connection:
        works = _received(connection, runtimes)
        for result in engine.run(works, runtimes, lambda work, event: connection.send(event)):
            connection.send(result)


def _received(connection: Connection, runtimes: dict[str, Runtime]) -> Iterator[Work]:
    """Works as they come, until the other end closes; the first brings the runtime."""
    with suppress(EOFError):
        while True:
            setup, work = connection.recv()
            if isinstance(setup, Setup):
                RUNTIMES.update(setup.targets)
                runtime = setup.settings.on(setup.runtime, load(setup.runtime))
                runtimes[setup.runtime] = runtime
            yield work


def _end_with_the_parent() -> None:
    """Be killed when the parent ends, however it ends, where the system can do that (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit(what: int, wanted: int) -> None:
    hard = resource.getrlimit(what)[1]
    within = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(what, (within, hard))


if __name__ == "__main__":
    main()
