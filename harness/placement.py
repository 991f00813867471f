"""``python -m harness.placement``: where ONNX Runtime's CUDA provider would put each node."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.commands.run import Parser, ended
from harness.core.errors import CONFORMS, DOES_NOT_CONFORM

SCHEMA = 1


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m harness.placement",
        description="Tell where every node would run with ONNX Runtime's CUDA provider, by its own"
        " partitioner. Needs no GPU, driver or CUDA libraries: onnxruntime-gpu, Linux and, once, a"
        " C compiler.",
        epilog="exit codes: 0 all but shape arithmetic would run on CUDA; 1 another node would not;"
        " 2 the call or the file is not usable; 3 onnxruntime-gpu or a C compiler is missing",
    )
    parser.add_argument("file", type=Path, help="a .onnx file")
    parser.add_argument(
        "--opset",
        action="append",
        metavar="N,…",
        help="convert the file to these opsets first, with onnx.version_converter (default: as it"
        " is); an export at that opset may differ",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the placements as JSON on standard output"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)

    from harness.placing import answer as placements

    opsets = placements.opsets(args.opset or ())
    versions, answers = placements.of_file(args.file, opsets)
    if args.json:
        told = [answer.as_dict() for answer in answers]
        about = {"schema": SCHEMA, "file": str(args.file), **versions.as_dict()}
        print(json.dumps({**about, "placements": told}, indent=1))
    else:
        for answer in answers:
            print(f"{args.file} at opset {answer.opset}, {versions}")
            for line in answer.lines():
                print(f"  {line}")
    return DOES_NOT_CONFORM if any(answer.verdict for answer in answers) else CONFORMS


if __name__ == "__main__":
    sys.exit(ended(main))
