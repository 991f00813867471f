"""``harness COMMAND …`` and ``python -m harness COMMAND …``: the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from harness.commands import interrupts
from harness.commands.run import UNUSABLE, called, ended

COMMANDS = {
    "validate": "compare exported models with their goldens",
    "export": "write a deployable bundle of a model that conforms",
    "diagnose": "where, when and by what a cell fails, and what reproduces it",
    "lint": "what is wrong in a graph, seen without running it",
    "record": "train reference models and record their goldens",
    "mutate": "plant defects in conforming models and see which are caught",
    "placement": "where ONNX Runtime's CUDA provider would put each node",
    "operators": "what each runtime makes of the standard's operator cases",
    "convert": "goldens and bundles to ONNX's test folders, and back",
    "merge": "reports of shards and of several machines as one",
    "compare": "two runs of the same cells, and what got worse",
    "list": "what there is, where it is from, and whether it is available here",
}
"""Each is the module of ``harness`` with its name, and the same as ``python -m harness.NAME``."""


def main() -> None:
    """Run the command that the command line names, and exit; with 2 where it names none."""
    interrupts.begin()
    sys.exit(ended(_main))


def _main(argv: Sequence[str]) -> int:
    from harness import __version__
    from harness.core.errors import CONFORMS, unknown

    name, *arguments = argv or [""]
    if name in COMMANDS:
        status: int = import_module(f"harness.{name}").main(arguments)
        return status
    if name == "--version":
        print(f"onnx-sequence-harness {__version__}")
    elif name in ("-h", "--help"):
        print(_help())
    elif name:
        raise unknown("command", name, COMMANDS)
    else:
        print(_help(), file=sys.stderr)
        return UNUSABLE
    return CONFORMS


def _help() -> str:
    lines = [f"  {name:<11}{about}" for name, about in COMMANDS.items()]
    usage = f"usage: {called()} COMMAND [--help]"
    return "\n".join([usage, "", "commands:", *lines, "", "options: --help, --version"])


if __name__ == "__main__":
    main()
