"""``python -m harness.diagnose``: where, when and by what a cell fails, and what reproduces it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.commands.run import CommandParser, command


def parser() -> argparse.ArgumentParser:
    from harness.commands import options

    parser = CommandParser(
        "diagnose",
        "Find the shortest length and batch at which a cell fails, the first step in"
        " time and the first node in the graph that departs, and write a folder that reproduces it"
        " alone.",
        examples=(
            "language_model --runtime openvino --framework torch",
            "model.onnx --golden path/to/golden -o path/to/reproduction",
        ),
        passes="every cell passes",
        fails="one does not, and is diagnosed",
        nothing="nothing is selected",
    )
    parser.add_argument(
        "subject",
        help="a reference model's name or glob, a bundle folder, or a .onnx file with --golden",
    )
    options.add_matrix(parser)
    options.add_places(parser)
    options.add_artifacts(parser)
    options.add_ort_options(parser)
    parser.add_argument(
        "--against",
        type=Path,
        metavar="GOOD.onnx",
        help="a right graph of the same model, to compare node by node with (default: the native"
        " export of the same golden, where it is another file)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="where the folder that reproduces it goes (default: build/diagnosis/CELL, the cell's"
        " id with dashes)",
    )
    options.add_output(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_intermixed_args(argv)

    from rich.console import Console

    from harness.commands import options
    from harness.core.errors import CONFORMS, DOES_NOT_CONFORM
    from harness.diagnosis import report, run
    from harness.reports import progress
    from harness.validation import pipeline

    selection = options.selection(args, subjects=[args.subject])
    call = shlex.join(["python", "-m", "harness.diagnose", *argv])
    with progress.shown(Console(stderr=True), enabled=not args.quiet) as tell:
        diagnoses = run.diagnose(selection, args.against, args.output, call, tell)
    if args.json:
        print(report.dumps(call, pipeline.machine(), diagnoses))
    shown = sys.stderr if args.json else sys.stdout
    for diagnosis, folder in diagnoses:
        print("\n".join(report.lines(diagnosis, folder)), file=shown)
    return CONFORMS if all(diagnosis.passes for diagnosis, _ in diagnoses) else DOES_NOT_CONFORM


if __name__ == "__main__":
    command(main)
