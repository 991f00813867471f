"""``python -m harness.validate``: compare exported models with their goldens."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import arguments


def parser() -> argparse.ArgumentParser:
    parser = arguments.Parser(
        prog="python -m harness.validate",
        description="Run exported sequence models at every golden length and compare every output"
        " with the float64 oracle.",
        epilog="exit codes: 0 everything compared conforms; 1 something does not; 2 the call or a"
        " file is not usable; 3 a required runtime or framework is not available; 4 nothing was"
        " compared",
    )
    parser.add_argument(
        "subject",
        nargs="*",
        help="a reference model's name or glob, a bundle folder, or a .onnx file with --golden"
        " (default: every reference model)",
    )
    arguments.add_matrix(parser)
    arguments.add_places(parser)
    parser.add_argument(
        "--artifacts",
        type=Path,
        default=arguments.ARTIFACTS,
        metavar="DIR",
        help="where exported models are kept (default: build/artifacts)",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="RUNTIME",
        help="exit with 3 where this runtime is not available",
    )
    parser.add_argument(
        "--report-dir",
        type=Path,
        default=Path("build/report"),
        metavar="DIR",
        help="where report.json goes (default: build/report)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the report on standard output and everything else on standard error",
    )
    parser.add_argument(
        "--every-step",
        action="store_true",
        help="derive the oracle's outputs anew at every step, where a golden of a long case stores"
        " some of them",
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failing cell")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every case")
    parser.add_argument("-q", "--quiet", action="store_true", help="show only the last line")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_intermixed_args(given)

    from rich.console import Console

    from harness import outcome, validation
    from harness.reports import console, json_file

    selection = validation.Selection(
        subjects=args.subject,
        frameworks=args.framework or (),
        exporters=args.exporter or (),
        variants=args.variant or (),
        runtimes=args.runtime or (),
        require=args.require,
        lengths=args.lengths or (),
        batch=args.batch or (),
        keyword=args.keyword,
        shard=args.shard,
        golden=args.golden,
        artifacts=args.artifacts,
        opset=args.opset,
        every_step=args.every_step,
    )
    errors = Console(stderr=True)
    shown = errors if args.json else Console()
    command = shlex.join(["python", "-m", "harness.validate", *given])
    with console.progress(errors, enabled=not args.quiet) as bar:
        task = bar.add_task("exporting", total=None)
        prepared = validation.prepare(
            selection, lambda text: bar.update(task, description=text, advance=1)
        )
        args.report_dir.mkdir(parents=True, exist_ok=True)
        total = sum(len(work.cases) + (len(work.cases) > 1) for work in prepared.works)
        bar.update(task, description="validating", completed=0, total=total)
        report = validation.judge(
            prepared,
            command,
            done=lambda result: None if args.quiet else console.cell(shown, result, args.verbose),
            step=lambda work: bar.update(task, advance=1, description=work.cell.id),
            fail_fast=args.fail_fast,
        )
    if args.json:
        print(json_file.dumps(report))
    path = json_file.write(report, args.report_dir)
    shown.print(f"{outcome.line(report)}; report: {path}", highlight=False, soft_wrap=True)
    return outcome.exit_code(report)


if __name__ == "__main__":
    sys.exit(arguments.ended(main))
