"""``python -m harness.merge``: reports of shards and of several machines as one."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.commands.run import Parser, ended


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m harness.merge",
        description="Merge the reports of several runs, such as shards of one matrix, into one:"
        " every cell once, with the worse of what was found.",
        epilog="exit codes: those of harness.validate, of the merged report; 2 where a shard is"
        " missing or a run stopped early and nothing else is wrong",
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
    parser.add_argument("-v", "--verbose", action="store_true", help="show every case")
    parser.add_argument("-q", "--quiet", action="store_true", help="show only the last line")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(given)

    from rich.console import Console

    from harness import reports
    from harness.core import summary
    from harness.reports import console, json_file, merge

    parts = {str(path): json_file.read(path) for path in args.report}
    merged = merge.merge(parts, shlex.join(["python", "-m", "harness.merge", *given]))
    shown = Console()
    for result in () if args.quiet else merged.report.results:
        console.cell(shown, result, args.verbose)
    failed = reports.write(merged.report, args.output)
    for line in [*merged.missing, *failed]:
        print(f"error: {line}", file=sys.stderr)
    path = args.output / json_file.NAME
    shown.print(f"{summary.line(merged.report)}; report: {path}", highlight=False, soft_wrap=True)
    return summary.exit_code(merged.report, bool(merged.missing or failed))


if __name__ == "__main__":
    sys.exit(ended(main))
