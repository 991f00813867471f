"""The child of ``harness.processes.worker``: calls the functions that it is sent, in turn.

Its first message is its ``sys.path``; each other one is a function and its arguments. The answer to
a call is its events and then what it returned, or the HarnessError that it raised; any other
exception ends the process with its traceback. The process ends, in the middle of a call too, when
the other end of the connection closes.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from multiprocessing import connection as connections
from queue import SimpleQueue
from typing import Any

EVENT, RETURNED, RAISED = "event", "returned", "raised"


def main(handle: int, memory: int) -> None:
    """Serve the connection of this handle, in a new process with ``memory`` bytes of data."""
    if sys.platform == "win32":
        connection: Any = connections.PipeConnection(handle)
    else:
        os.set_inheritable(handle, False)
        connection = connections.Connection(handle)
    serve(connection, memory)


def serve(connection: Any, memory: int) -> None:
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=connection.close)
    sys.path[:] = connection.recv()

    from harness.core.errors import HarnessError
    from harness.processes.limits import confine

    confine(memory)
    calls: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, calls), daemon=True).start()

    def emit(event: Any) -> None:
        connection.send((EVENT, event))

    while True:
        function, arguments = pickle.loads(calls.get())
        try:
            answer = RETURNED, function(emit, *arguments)
        except HarnessError as error:
            answer = RAISED, error
        connection.send(answer)


def _receive(connection: Any, calls: SimpleQueue[bytes]) -> None:
    try:
        while True:
            calls.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)
