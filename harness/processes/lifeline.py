"""A line between a process and its child: where the process is gone, Linux kills the child.

A line is a pipe whose writing end the process alone holds. The kernel sends SIGKILL to the child's
process group when that end closes, however the process ended and whichever thread of it started
the child. The child's own code has no part in it: native code that never returns ends, too, and so
does a program that is not Python. Of what a child started in other sessions, a shell that waits for
the same end kills all that has the mark of this process in its environment. Elsewhere than on Linux
a line does nothing.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import suppress
from functools import cache
from itertools import count
from uuid import uuid4
from weakref import WeakSet

MARK = "HARNESS_PROCESS"
_SWEEP = """
read -r _
for _ in 1 2 3 4 5 6 7 8 9; do
    found=$(grep -ls "$0" /proc/[0-9]*/environ)
    [ "$found" ] || exit
    for file in $found; do file=${file#/proc/}; kill -9 "${file%/environ}"; done
    sleep 0.1
done
"""


class Lifeline:
    """A line to a child, whose end for the child is ``theirs``; -1 where lines do nothing.

    The block in which the child is started closes that end here.
    """

    def __init__(self) -> None:
        self.theirs = self._ours = -1
        if sys.platform == "linux":
            _heed_forks()
            self.theirs, self._ours = os.pipe()
            _LINES.add(self)

    def __enter__(self) -> Lifeline:
        return self

    def __exit__(self, *error: object) -> None:
        if self.theirs >= 0:
            os.close(self.theirs)

    def __del__(self) -> None:
        self.cut()

    def cut(self) -> None:
        """Have the child killed."""
        end, self._ours = self._ours, -1
        if end >= 0:
            os.close(end)


def tie(line: int, group: int) -> None:
    """Have the kernel kill a process group when the other end of ``line`` is closed."""
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # the child has ended
            fcntl.fcntl(line, fcntl.F_SETOWN, -group)
            fcntl.fcntl(line, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(line, fcntl.F_SETFL, fcntl.fcntl(line, fcntl.F_GETFL) | os.O_ASYNC)


def join(line: int) -> None:
    """Tie this process, the leader of its group, to ``line``; end it where the other end is gone.

    The process that starts a child ties it, but may be killed before it has.
    """
    if sys.platform == "linux":
        os.set_inheritable(line, False)
        tie(line, os.getpid())
        waiting = select.poll()
        waiting.register(line, 0)
        if waiting.poll(0):
            os._exit(1)


def new_mark() -> str:
    """Return the name of a variable for the environment of one child and of all that it starts."""
    global _sweeper
    with _LOCK:  # a second sweeper would end at once, and kill what the first one is for
        if not _sweeper:
            _sweeper = _swept(_owner)
    return f"{MARK}_{_owner}_{next(_NUMBERS)}_"  # no number is the beginning of another


def _swept(owner: str) -> Lifeline:
    """Start the shell that kills what has the mark of ``owner`` when the line's end closes."""
    line = Lifeline()
    if sys.platform == "linux":
        nowhere = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_WRONLY, 0) for n in (1, 2)]
        with line, suppress(OSError):
            os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", _SWEEP, f"{MARK}_{owner}"],
                {"PATH": os.environ.get("PATH", os.defpath)},
                file_actions=[(os.POSIX_SPAWN_DUP2, line.theirs, 0), *nowhere],
                setsid=True,
            )
    return line


@cache
def _heed_forks() -> None:
    if sys.platform == "linux":
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    """Close the ends that a fork of this process has: they are not its own."""
    global _owner, _sweeper, _LOCK
    _LOCK = threading.Lock()
    for line in list(_LINES):
        line.cut()
    _owner, _sweeper = uuid4().hex, None


_LINES: WeakSet[Lifeline] = WeakSet()
_NUMBERS = count()
_LOCK = threading.Lock()
_owner, _sweeper = uuid4().hex, None  # type: str, Lifeline | None
