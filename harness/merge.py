"""``python -m harness.merge``: reports of shards and of several machines as one."""

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
        "merge",
        "Merge the reports of several runs, such as shards of one matrix, into one:"
        " every cell once, with the worse of what was found.",
        examples=("reports/*/report.json -o reports/merged",),
        passes="everything compared conforms, and no shard is missing",
    )
    parser.add_argument("report", nargs="+", type=Path, metavar="REPORT.json")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="where the merged report goes, in every form that validate writes",
    )
    options.add_output(parser, verbose="every case", json=False)
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)

    from rich.console import Console

    from harness import reports
    from harness.core import summary
    from harness.core.escaping import line
    from harness.reports import console, json_file, merge

    parts = {str(path): json_file.read(path) for path in args.report}
    merged = merge.merge(parts, shlex.join(["python", "-m", "harness.merge", *argv]))
    shown = Console()
    for result in () if args.quiet else merged.report.results:
        console.cell(shown, result, args.verbose)
    failed = reports.write(merged.report, args.output)
    for text in [*merged.missing, *failed]:
        print(line(f"error: {text}"), file=sys.stderr)
    console.show(shown, f"{summary.line(merged.report)}; report: {args.output / json_file.NAME}")
    return summary.exit_code(merged.report, bool(merged.missing or failed))


if __name__ == "__main__":
    command(main)
