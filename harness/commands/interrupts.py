"""Ctrl-C and SIGTERM end a command with 130 and one word, at its imports too.

A command calls ``begin`` before imports that take long. In any other program nothing changes until
a command is called.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_IMPORTING = "<frozen importlib._bootstrap>"
_heard = False
_is_command = False


def begin() -> None:
    """Mark this process as a command's: it ends at once on a signal, until ``heed``."""
    global _is_command
    _is_command = True
    _set(leave)
    atexit.register(_set, signal.SIG_IGN)


def leave(number: int, frame: object) -> NoReturn:
    """End at once, with nothing to clean up and no traceback of an unfinished import."""
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, so that the command cleans up and reports what it has.

    In the middle of an import a command's process ends at once: extension modules in C++ abort on
    an exception there.
    """
    global _heard
    while _is_command and frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            leave(number, frame)
        frame = frame.f_back
    _heard = True
    raise KeyboardInterrupt


def heed(handler: Any) -> dict[int, Any]:
    """Set a handler of the signals that are not ignored; return the handlers before.

    None is set where this is not the main thread, which alone can have one.
    """
    global _heard
    import threading

    _heard = False
    if threading.current_thread() is not threading.main_thread():
        return {}
    return _set(handler)


def restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def heard() -> bool:
    """Return whether a signal came since ``heed``: a library may lose the exception."""
    return _heard


def end() -> int:
    """Return the exit code of a command that was interrupted and has cleaned up.

    A command's process ends here: Python would give it another exit code where the signal came in
    code that was compiled from text.
    """
    if _is_command:
        from contextlib import suppress

        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(INTERRUPTED)
    return INTERRUPTED


def _set(handler: Any) -> dict[int, Any]:
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heeded}
