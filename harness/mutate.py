"""``python -m harness.mutate``: plant defects in conforming models and see which are caught."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.run import CommandParser, command

if TYPE_CHECKING:
    from harness.validation.selection import Selection


def parser() -> argparse.ArgumentParser:
    from harness.commands import options

    parser = CommandParser(
        "mutate",
        "Plant one defect at a time in exported models that conform, and report which"
        " ones validation catches, at which stage and length, and how small a graded one may be;"
        " the same mutants are judged by the default rules of other tools.",
        examples=("gru_tagger --framework torch", "path/to/bundle --defect 'gate*'"),
        passes="every defect that changes an output is caught",
        fails="one is missed",
        nothing="nothing is planted",
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
    options.add_folder(parser, "--report-dir", Path("build/mutation"), "where mutation.json goes")
    parser.add_argument("--list", action="store_true", help="say what each kind of defect is")
    options.add_output(parser, json=False)
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_intermixed_args(argv)

    from rich.console import Console

    from harness.commands import options
    from harness.core.errors import CONFORMS
    from harness.core.files import check_folder
    from harness.mutation import report, study
    from harness.runtimes.settings import Settings
    from harness.subjects.resolve import EXPORTED, Kind, resolve

    kinds = study.defects(args.defect or ())
    if args.list:
        report.kinds(Console(), kinds)
        return CONFORMS
    check_folder(args.report_dir)
    selection = options.selection(
        args,
        runtimes=args.runtime or ("ort-cpu",),
        every_step=all(resolve(s, EXPORTED).kind is Kind.REFERENCE for s in args.subject),
        settings=Settings(intra_op_threads=None if args.runtime else 1),
    )
    is_new = not args.report_dir.exists()
    args.report_dir.mkdir(parents=True, exist_ok=True)
    try:
        return _study(args, selection, shlex.join(["python", "-m", "harness.mutate", *argv]))
    finally:
        if is_new and not any(args.report_dir.iterdir()):
            args.report_dir.rmdir()


def _study(args: argparse.Namespace, selection: Selection, call: str) -> int:
    from rich.console import Console

    from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, HarnessError, NothingSelectedError
    from harness.mutation import report, study, summary

    shown = Console()
    studies: list[study.CellStudy] = []
    try:
        for cell_study in study.run(selection, args.defect or (), args.workers):
            studies.append(cell_study)
            if not args.quiet:
                report.cell(shown, cell_study)
    except (HarnessError, KeyboardInterrupt):
        if studies:
            path = report.write(studies, call, args.report_dir, partial=True)
            shown.print(f"partial report: {path}", highlight=False, soft_wrap=True)
        raise
    studies.sort(key=lambda cell_study: cell_study.cell.id)
    if not any(cell_study.trials for cell_study in studies):
        raise NothingSelectedError("no selected defect has a place in a selected cell")
    if args.quiet:
        shown.print(report.line(studies), highlight=False, soft_wrap=True)
    else:
        report.show(shown, studies)
    path = report.write(studies, call, args.report_dir)
    shown.print(f"report: {path}", highlight=False, soft_wrap=True)
    return DOES_NOT_CONFORM if summary.missed(studies) else CONFORMS


if __name__ == "__main__":
    command(main)
