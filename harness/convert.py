"""``python -m harness.convert``: goldens and bundles to ONNX's test folders, and back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.commands.run import CommandParser, command


def parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        "convert",
        "Write a golden or a bundle as model.onnx and test_data_set_N/input_K.pb and"
        " output_K.pb, the folder that ONNX Runtime's test runner, tract and onnx-mlir read; or,"
        " where SOURCE is such a folder, write back to the bit what it was made from.",
        examples=(
            "path/to/bundle -o path/to/onnx-tests",
            "golden/gru_tagger/torch --model model.onnx --lengths 1..64 -o path/to/onnx-tests",
        ),
        passes="DIR is written",
        fails="",
        nothing="there is no case to write",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the folder to convert")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="new")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="the ONNX model of a golden; a bundle has its own",
    )
    parser.add_argument(
        "--lengths",
        action="append",
        metavar="N,A..B",
        help="only cases whose longest axis has these lengths (default: all, up to 4096 steps)",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)

    from harness.core.errors import CONFORMS, UsageError
    from harness.onnx_tests import convert
    from harness.subjects.resolve import CONVERTIBLE, Kind, resolve

    subject = resolve(str(args.source), CONVERTIBLE)
    if subject.kind is Kind.ONNX_TESTS:
        if args.model or args.lengths:
            raise UsageError(f"{args.source} is converted back whole; no --model, no --lengths")
        number, left_out = convert.from_tests(args.source, args.output), 0
    else:
        convertible = convert.source(subject, args.model)
        number, left_out = convert.to_tests(convertible, args.output, args.lengths or ())
    why = "whose outputs are stored in part and cannot be completed here"
    note = f"; left out {left_out}, {why}" if left_out else ""
    print(f"wrote {args.output}: {number} cases{note}")
    return CONFORMS


if __name__ == "__main__":
    command(main)
