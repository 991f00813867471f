"""What the commands share of their command line: selectors, and errors in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import UNUSABLE, HarnessError
from harness.exporters import DEFAULT_OPSET, EXPORTERS, OPSETS
from harness.frameworks import FRAMEWORKS
from harness.runtimes import RUNTIMES
from harness.variants import VARIANTS

GOLDEN = Path("golden")
ARTIFACTS = Path("build/artifacts")
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage, and ends with exit code 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        print(f"error: {message} (see --help)", file=sys.stderr)
        sys.exit(UNUSABLE)


def exporters() -> list[str]:
    """The exporters by name, whichever framework they take."""
    return list(dict.fromkeys(key.rpartition("/")[0] for key in EXPORTERS))


def add_matrix(parser: argparse.ArgumentParser) -> None:
    """The selectors of the matrix: comma-separated, repeatable, ``all`` and globs allowed."""
    group = parser.add_argument_group(
        "selectors", "comma-separated names or globs, repeatable, or 'all'"
    )
    add = group.add_argument
    add("--framework", action="append", metavar="NAME", help=f"{', '.join(FRAMEWORKS)}")
    add(
        "--exporter",
        action="append",
        metavar="NAME",
        help=f"{', '.join(exporters())} (default: native)",
    )
    add("--variant", action="append", metavar="NAME", help=f"{', '.join(VARIANTS)} (default: fp32)")
    add(
        "--runtime",
        action="append",
        metavar="NAME",
        help=f"{', '.join(RUNTIMES)} (default: ort-cpu, and ort-cuda where there is a CUDA device)",
    )
    add("--lengths", action="append", metavar="N,A..B", help="lengths of a case's longest axis")
    add("--batch", action="append", metavar="N,A..B", help="batch sizes")
    add("-k", dest="keyword", metavar="EXPRESSION", help="parts of cell ids, and, or, not, ( )")
    add("--shard", metavar="I/N", help="the I-th of N parts of the cells")


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where goldens and exports are, and the opset to export at."""
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="DIR",
        help="the folder of goldens (default: golden); for a .onnx file, its golden",
    )
    parser.add_argument(
        "--opset",
        type=int,
        default=DEFAULT_OPSET,
        choices=OPSETS,
        metavar="N",
        help=f"opset to export at, {OPSETS[0]} to {OPSETS[-1]} (default: 18, for which every"
        " deployed ONNX Runtime has CUDA kernels of LSTM and GRU; its CUDA 12 builds have none at"
        " opset 22)",
    )


def ended(command: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a command; an error is one line on standard error and its exit code."""
    try:
        return command(argv)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: {told}", file=sys.stderr)
        return UNUSABLE
