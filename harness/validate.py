"""``python -m harness.validate``: compare exported models with their goldens."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import arguments
from harness.relations import RELATIONS


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
    arguments.add_ort_options(parser)
    arguments.add_isolation(parser)
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
    parser.add_argument(
        "--relation",
        action="append",
        metavar="NAME",
        help=f"{', '.join(RELATIONS)}: after the golden cases, try what must hold between runs"
        " whatever the right outputs are, at up to six of the selected lengths",
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failing cell")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every case")
    parser.add_argument("-q", "--quiet", action="store_true", help="show only the last line")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_intermixed_args(given)

    from rich.console import Console

    from harness import outcome, validation, workers
    from harness.reports import console, json_file
    from harness.schema import CellResult, Report
    from harness.settings import Settings
    from harness.works import Selection

    selection = Selection(
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
        relations=args.relation or (),
        settings=Settings(args.optimization, args.intra_op_threads, dict(args.provider_option)),
    )
    isolation = workers.asked(args.isolate, args.workers, args.timeout, args.memory_limit)
    errors = Console(stderr=True)
    shown = errors if args.json else Console()
    command = shlex.join(["python", "-m", "harness.validate", *given])
    stopped = False
    with console.progress(errors, enabled=not args.quiet) as bar:
        task = bar.add_task("exporting", total=None)
        prepared = validation.prepare(
            selection, lambda text: bar.update(task, description=text, advance=1)
        )
        args.report_dir.mkdir(parents=True, exist_ok=True)
        total = sum(
            len(work.cases) + (len(work.cases) > 1) + len(work.relations) for work in prepared.works
        )
        bar.update(task, description="validating", completed=0, total=total)
        judged: list[CellResult] = []

        def done(result: CellResult) -> None:
            judged.append(result)
            if not args.quiet:
                console.cell(shown, result, args.verbose)

        try:
            report = validation.judge(
                prepared,
                command,
                done,
                step=lambda work: bar.update(task, advance=1, description=work.cell.id),
                fail_fast=args.fail_fast,
                isolation=isolation,
            )
        except KeyboardInterrupt:
            stopped = True
            report = Report(command, validation.environment(), tuple(judged), partial=True)
    if args.json:
        print(json_file.dumps(report))
    for name in () if args.quiet or report.partial else validation.without_a_case(prepared, report):
        shown.print(f"relation {name} applies to no selected model and case", highlight=False)
    path = json_file.write(report, args.report_dir)
    shown.print(f"{outcome.line(report)}; report: {path}", highlight=False, soft_wrap=True)
    return arguments.INTERRUPTED if stopped else outcome.exit_code(report)


if __name__ == "__main__":
    sys.exit(arguments.ended(main))
