"""``python -m harness.validation.isolation.child_main DESCRIPTOR BYTES``: judges cells.

It reads ``(Setup or None, Work)`` from the connection at DESCRIPTOR, the setup with the first, and
answers each by the engine's events and then the cell's result, pickled. It may have BYTES of data,
leaves no core dump, and ends with the process that started it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

from harness.core.errors import HarnessError
from harness.core.schema import Runtime
from harness.processes.limits import confine
from harness.runtimes import RUNTIMES, load
from harness.validation import engine
from harness.validation.isolation.child import Setup
from harness.validation.job import Work


def main() -> None:
    descriptor, memory = map(int, sys.argv[1:])
    os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    confine(memory)
    runtimes: dict[str, Runtime] = {}
    with Connection(descriptor) as connection:
        os.register_at_fork(after_in_child=connection.close)
        works = _received(connection, runtimes)
        try:
            for result in engine.run(works, runtimes, lambda work, event: connection.send(event)):
                connection.send(result)
        except HarnessError as error:
            connection.send(error)


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


if __name__ == "__main__":
    main()
