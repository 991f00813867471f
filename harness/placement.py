"""``python -m harness.placement``: where ONNX Runtime's CUDA provider would put each node."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from harness.commands.run import CommandParser, command


def parser() -> argparse.ArgumentParser:
    from harness.commands import options

    parser = CommandParser(
        "placement",
        "Show where every node would run with ONNX Runtime's CUDA provider, by its own"
        " partitioner. Needs no GPU, driver or CUDA libraries: onnxruntime-gpu, Linux and, once, a"
        " C compiler.",
        examples=("model.onnx", "model.onnx --opset 18,22"),
        passes="all but shape arithmetic would run on CUDA",
        fails="another node would not",
        nothing="",
    )
    parser.add_argument("file", type=Path, help="a .onnx file or a bundle")
    parser.add_argument(
        "--opset",
        action="append",
        metavar="N,…",
        help="convert the file to these opsets first, with onnx.version_converter (default: as it"
        " is); an export at that opset may differ",
    )
    options.add_output(parser, quiet=False)
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)

    from harness.core.errors import CONFORMS, DOES_NOT_CONFORM
    from harness.core.escaping import line
    from harness.exporting import bundle
    from harness.placing import answer as placements

    opsets = placements.opsets(args.opset or ())
    file = args.file / bundle.MODEL if args.file.is_dir() else args.file
    versions, answers = placements.of_file(file, opsets)
    if args.json:
        from msgspec import to_builtins

        placed = [answer.entry() for answer in answers]
        about = placements.PlacementFile(
            placements.SCHEMA, str(args.file), versions.onnxruntime, versions.cuda, placed
        )
        print(json.dumps(to_builtins(about), indent=1))
    else:
        for answer in answers:
            print(line(f"{args.file} at opset {answer.opset}, {versions}"))
            for text in answer.lines():
                print(line(f"  {text}"))
    return DOES_NOT_CONFORM if any(answer.verdict for answer in answers) else CONFORMS


if __name__ == "__main__":
    command(main)
