"""``python -m harness.export``: write a deployable bundle of a model that conforms."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import arguments


def parser() -> argparse.ArgumentParser:
    parser = arguments.Parser(
        prog="python -m harness.export",
        description="Export a trained reference model, validate it, and write a bundle:"
        " model.onnx, its manifest and its golden. A model that does not conform leaves no"
        " model.onnx.",
    )
    parser.add_argument("subject", help="a reference model's name")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--framework", default="torch", help="keras or torch (default: torch)")
    parser.add_argument("--exporter", default="native", help=", ".join(arguments.exporters()))
    parser.add_argument("--variant", default="fp32")
    parser.add_argument(
        "--runtime", action="append", metavar="NAME", help="runtimes to validate in"
    )
    arguments.add_places(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="show every case")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)

    from rich.console import Console

    from harness import outcome, shipping
    from harness.reports import console
    from harness.works import Selection

    selection = Selection(
        subjects=[args.subject],
        frameworks=[args.framework],
        exporters=[args.exporter],
        variants=[args.variant],
        runtimes=args.runtime or (),
        golden=args.golden,
        opset=args.opset,
    )
    shown = Console()
    report, written = shipping.ship(
        selection, args.output, lambda result: console.cell(shown, result, args.verbose)
    )
    told = f"wrote {args.output}" if written else f"{args.output}: nothing shipped"
    shown.print(f"{outcome.line(report)}; {told}", highlight=False, soft_wrap=True)
    return outcome.exit_code(report)


if __name__ == "__main__":
    sys.exit(arguments.ended(main))
