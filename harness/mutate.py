"""``python -m harness.mutate``: plant defects in conforming models and see which are caught."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.commands import options
from harness.commands.run import Parser, ended


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m harness.mutate",
        description="Plant one defect at a time in exported models that conform, and tell which"
        " ones validation catches, at which stage and length, and how small a graded one may be;"
        " the same mutants are judged by the default rules of other tools.",
        epilog="exit codes: 0 every defect that changes an output is caught; 1 one is missed; 2 the"
        " call or a file is not usable; 3 a runtime or framework is not available; 4 nothing was"
        " planted",
    )
    options.add_subjects(parser)
    options.add_matrix(parser, runtimes="ort-cpu on one thread")
    options.add_places(parser)
    options.add_artifacts(parser)
    parser.add_argument(
        "--defect",
        action="append",
        metavar="NAME",
        help="kinds of defect: comma-separated names or globs, repeatable (default: all)",
    )
    parser.add_argument(
        "--workers",
        type=options.at_least_one,
        default=os.cpu_count() or 1,
        metavar="N",
        help="cells studied at a time (default: one for each core)",
    )
    parser.add_argument(
        "--report-dir",
        type=Path,
        default=Path("build/mutation"),
        metavar="DIR",
        help="where mutation.json goes (default: build/mutation)",
    )
    parser.add_argument("--list", action="store_true", help="say what each kind of defect is")
    parser.add_argument("-q", "--quiet", action="store_true", help="show only the totals")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_intermixed_args(given)

    from rich.console import Console

    from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, HarnessError, NothingSelectedError
    from harness.mutation import report, study, summary
    from harness.runtimes.settings import Settings
    from harness.subjects.resolve import EXPORTED, Kind, resolve

    kinds = study.defects(args.defect or ())
    shown = Console()
    if args.list:
        report.kinds(shown, kinds)
        return CONFORMS
    selection = options.selection(
        args,
        runtimes=args.runtime or ("ort-cpu",),
        every_step=all(resolve(s, EXPORTED).kind is Kind.REFERENCE for s in args.subject),
        settings=Settings(intra_op_threads=None if args.runtime else 1),
    )
    args.report_dir.mkdir(parents=True, exist_ok=True)
    studies: list[study.CellStudy] = []
    command = shlex.join(["python", "-m", "harness.mutate", *given])
    try:
        for one in study.run(selection, args.defect or (), args.workers):
            studies.append(one)
            if not args.quiet:
                report.cell(shown, one)
    except (HarnessError, KeyboardInterrupt):
        if studies:
            path = report.write(studies, command, args.report_dir, partial=True)
            shown.print(f"partial report: {path}", highlight=False, soft_wrap=True)
        raise
    studies.sort(key=lambda one: one.cell.id)
    if not any(one.trials for one in studies):
        raise NothingSelectedError("no selected defect has a place in a selected cell")
    if args.quiet:
        shown.print(report.line(studies), highlight=False, soft_wrap=True)
    else:
        report.show(shown, studies)
    path = report.write(studies, command, args.report_dir)
    shown.print(f"report: {path}", highlight=False, soft_wrap=True)
    return DOES_NOT_CONFORM if summary.missed(studies) else CONFORMS


if __name__ == "__main__":
    sys.exit(ended(main))
