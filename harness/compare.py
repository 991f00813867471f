"""``python -m harness.compare``: two runs of the same cells, and what got worse."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.commands.run import CommandParser, command

BUDGET = 2.0


def parser() -> argparse.ArgumentParser:
    from harness.commands import options

    parser = CommandParser(
        "compare",
        "Compare two runs of the same cells, before and after an update for example: which fail"
        " now, which pass again, which errors grew. Of saved outputs and of bundles, whether every"
        " output is equal to the bit, or how many ULP apart.",
        examples=(
            "before/report.json after/report.json",
            "outputs_before outputs_after --max-ulp 4",
            "bundle_before bundle_after --runtime ort-cpu,openvino",
        ),
        passes="nothing is worse than the budget allows",
        fails="something is worse, fails now, or is missing",
        nothing="the runs share no output",
    )
    parser.add_argument(
        "run",
        nargs=2,
        type=Path,
        metavar="RUN",
        help="a report.json or its folder, what --save-outputs wrote, or a bundle; the earlier"
        " first, both of one kind",
    )
    parser.add_argument(
        "--budget",
        type=_factor,
        metavar="N",
        help="of reports: how many times as large an error ÷ tolerance above a tenth may become"
        f" (default: {BUDGET:g})",
    )
    parser.add_argument(
        "--max-ulp",
        type=_ulps,
        metavar="N",
        help="of outputs and bundles: how far an output may move, in ULP of its dtype (default: 0)",
    )
    parser.add_argument(
        "--runtime",
        action="append",
        metavar="NAME",
        help="of bundles: the runtimes that run both (default: ort-cpu)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="write comparison.json and comparison.md there",
    )
    options.add_output(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)

    from harness.comparing import runs, text
    from harness.core.files import check_folder, written

    if args.output:
        check_folder(args.output)
    comparison = runs.compared(
        *args.run,
        budget=args.budget,
        max_ulp=args.max_ulp,
        runtimes=[name for names in args.runtime or () for name in names.split(",")],
        default=BUDGET,
    )
    if args.output:
        page = "".join(f"{line}\n" for line in text.as_markdown(comparison))
        written(args.output / "comparison.md", page.encode())
        written(args.output / "comparison.json", f"{text.as_json(comparison)}\n".encode())
    if args.json:
        print(text.as_json(comparison))
    shown = sys.stderr if args.json else sys.stdout
    for line in () if args.quiet else text.lines(comparison):
        print(line, file=shown)
    print(text.summary(comparison), file=shown)
    return comparison.exit_code


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 1 <= factor < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number from 1 on")
    return factor


def _ulps(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 0 on")
    return int(text)


if __name__ == "__main__":
    command(main)
