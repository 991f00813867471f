"""What the harness changes in its process when it is imported, before anything else is."""

import os
import sys

TELEMETRY = "ORT_DISABLE_TELEMETRY"


def prepare(command: bool) -> None:
    """Keep ONNX Runtime from sending telemetry and, in a ``command``, leave the current folder.

    ONNX Runtime's official Linux wheels send telemetry from 1.29 on, unless this variable is set
    before they are imported; what the user sets is kept. ``python -m harness.NAME`` has the current
    folder first on ``sys.path``, so that a ``numpy.py`` there, which may have come with a model,
    would be imported.
    """
    os.environ.setdefault(TELEMETRY, "1")
    if command:
        sys.path[:] = without(sys.path, os.getcwd(), os.environ.get("PYTHONPATH", ""))


def without(path: list[str], folder: str, named: str) -> list[str]:
    """Return ``path`` without ``folder``, unless ``named``, a PYTHONPATH, has it by its whole name.

    Where the harness itself lies in that folder, as in a checkout, it is the last place to look.
    """
    if folder in named.split(os.pathsep):
        return path
    kept = [place for place in path if place not in ("", os.curdir, folder)]
    mine = os.path.abspath(__file__)
    for _ in range(3):  # this file, core, harness
        mine = os.path.dirname(mine)
    return [*kept, mine] if mine == folder else kept
