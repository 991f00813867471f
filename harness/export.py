"""``python -m harness.export``: write a deployable bundle of a model that conforms."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.commands.run import CommandParser, command

PHASES = {"float64": 0.55, "exporting": 0.25, "looking": 0.05, "validating": 0.15}
"""The phases of exporting a model of one's own, and the part of the time that each usually takes.

The runs in float32 stand between those in float64.
"""


def parser() -> argparse.ArgumentParser:
    from harness.commands import options

    parser = CommandParser(
        "export",
        "Export a model, validate it, and write a bundle: model.onnx, its manifest, its"
        " golden and, for a model of your own, MODEL.md. A model that does not conform leaves no"
        " model.onnx.",
        examples=(
            "language_model --framework keras -o path/to/bundle",
            "tagger.py:make --input 'tokens: int64[batch, time] in 0..99' -o path/to/bundle",
        ),
    )
    parser.add_argument(
        "subject",
        help="a reference model's name, package.module:factory, path/file.py:factory, or a .keras,"
        " .pt2, TorchScript or .onnx file",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="the bundle's folder"
    )
    parser.add_argument(
        "--framework", metavar="NAME", help="of a reference model: keras or torch (default: torch)"
    )
    parser.add_argument(
        "--exporter", default="native", metavar="NAME", help=", ".join(options.exporters())
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="a model of your own that the native exporter cannot export ends there; without it,"
        " PyTorch's own exporters are tried in turn",
    )
    parser.add_argument(
        "--variant", default="fp32", metavar="NAME", help=", ".join(options.variants())
    )
    parser.add_argument(
        "--runtime", action="append", metavar="NAME", help="runtimes to validate in"
    )
    own = parser.add_argument_group("a model of your own")
    own.add_argument(
        "--input",
        action="append",
        metavar="TEXT",
        help="one input, such as 'tokens: int64[batch, sequence] in 0..9999, padding 0', or one"
        " axis: 'time: multiple of 4, 8..512', 'frames = 4 * tokens'; may be repeated; what the"
        " model says itself may be left out. Words: normal, padding VALUE, no padding, mask of"
        " AXIS, padding mask of AXIS, additive mask of AXIS, causal mask of AXIS, lengths of AXIS,"
        " right, never empty, valid steps only, may be nan",
    )
    own.add_argument(
        "--inputs",
        type=Path,
        metavar="FILE",
        help="a TOML file with such lines under [inputs] (default: the subject's name with .toml)",
    )
    own.add_argument("--outputs", metavar="NAME,NAME", help="names of the outputs, in their order")
    own.add_argument("--lengths", action="append", metavar="N,A..B", help="lengths to prove it at")
    own.add_argument("--batch", action="append", metavar="N,A..B", help="batch sizes, likewise")
    own.add_argument("--weights", type=Path, metavar="FILE", help="weights for a factory's model")
    own.add_argument(
        "--onnx", type=Path, metavar="FILE", help="judge and ship this file instead of exporting"
    )
    own.add_argument("--name", default="", help="what the model is called in ids")
    options.add_timeout(own, "making it")
    options.add_places(parser, files=False)
    options.add_output(parser, verbose="every case")
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)

    from rich.console import Console

    from harness.core import summary
    from harness.core.errors import UsageError
    from harness.core.results import CellResult
    from harness.reports import console, json_file, progress
    from harness.shipping import reference_model, user_model
    from harness.shipping.request import Request
    from harness.subjects.resolve import EXPORTABLE, Kind, resolve
    from harness.validation.selection import Selection

    errors = Console(stderr=True)
    shown = errors if args.json else Console()

    def done(result: CellResult) -> None:
        if not args.quiet:
            console.cell(shown, result, args.verbose)

    flags = {
        "--input": args.input,
        "--inputs": args.inputs,
        "--outputs": args.outputs,
        "--lengths": args.lengths,
        "--batch": args.batch,
        "--weights": args.weights,
        "--onnx": args.onnx,
        "--name": args.name,
        "--timeout": args.timeout,
        "--strict": args.strict,
    }
    if resolve(args.subject, EXPORTABLE).kind is Kind.REFERENCE:
        if odd := [flag for flag, value in flags.items() if value]:
            raise UsageError(f"{odd[0]} is for a model of your own; {args.subject} is ours")
        selection = Selection(
            subjects=[args.subject],
            frameworks=[args.framework or "torch"],
            exporters=[args.exporter],
            variants=[args.variant],
            runtimes=args.runtime or (),
            golden=args.golden,
            opset=args.opset,
        )
        with progress.shown(errors, not args.quiet) as tell:
            report, written = reference_model.ship(selection, args.output, done, tell)
    else:
        if args.framework or args.golden:
            flag = "--framework" if args.framework else "--golden"
            raise UsageError(f"{flag} is for reference models; {args.subject} is none")
        if args.input and args.inputs:
            raise UsageError("--input and --inputs both describe the inputs; give one of them")
        request = Request(
            args.subject,
            args.output,
            args.inputs or args.input,
            args.lengths or (),
            args.batch or (),
            args.exporter,
            args.variant,
            args.opset,
            args.runtime or (),
            args.weights,
            args.onnx,
            [name.strip() for name in args.outputs.split(",")] if args.outputs else (),
            args.name,
            args.timeout,
            args.strict,
        )
        with progress.shown(errors, not args.quiet, PHASES) as tell:
            report, written = user_model.ship(
                request,
                done,
                tell,
                lambda line: shown.print(
                    f"            {line}", highlight=False, markup=False, soft_wrap=True
                ),
            )
    if args.json:
        print(json_file.dumps(report))
    outcome = f"wrote {args.output}" if written else f"{args.output}: nothing shipped"
    shown.print(f"{summary.line(report)}; {outcome}", highlight=False, soft_wrap=True)
    return summary.exit_code(report)


if __name__ == "__main__":
    command(main)
