"""``python -m harness.validate``: compare exported models with their goldens."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.commands import interrupts
from harness.commands.run import CommandParser, command


def parser() -> argparse.ArgumentParser:
    from harness.commands import options
    from harness.relations import RELATIONS

    parser = CommandParser(
        "validate",
        "Run exported sequence models at every golden length and compare every output"
        " with the float64 oracle.",
        examples=(
            "path/to/bundle",
            "model.onnx --golden path/to/golden --runtime ort-cpu,openvino",
            "language_model --framework torch --exporter all --lengths 1..64",
        ),
    )
    options.add_subjects(parser)
    options.add_matrix(parser)
    options.add_places(parser)
    options.add_artifacts(parser)
    options.add_ort_options(parser)
    options.add_isolation(parser)
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="RUNTIME",
        help="exit with 3 where this runtime is not available",
    )
    parser.add_argument(
        "--with",
        dest="versions",
        action="append",
        default=[],
        metavar="DISTRIBUTION==V,V",
        help="run the cells in these versions too, each installed once in a folder of its own under"
        " the user's cache: onnxruntime==1.24.1,1.26.0, of openvino or tract, or the path of a"
        " wheel; repeatable (other runtimes then only where --runtime names them)",
    )
    parser.add_argument(
        "--bisect",
        action="store_true",
        help="of the versions of --with run the first, the last and those between, by halves, until"
        " it is known since which one a cell fails",
    )
    options.add_folder(parser, "--report-dir", Path("build/report"), "where report.json goes")
    parser.add_argument(
        "--every-step",
        action="store_true",
        help="derive the oracle's outputs anew at every step, where a golden of a long case stores"
        " some of them",
    )
    parser.add_argument(
        "--decisions",
        action="store_true",
        help="count in ONNX Runtime which conditions of the graph the cases take both ways, and"
        " name the others in the report's evidence",
    )
    parser.add_argument(
        "--relation",
        action="append",
        metavar="NAME",
        help=f"{', '.join(RELATIONS)}: after the golden cases, try what must hold between runs"
        " whatever the right outputs are, at up to six of the selected lengths",
    )
    parser.add_argument(
        "--save-outputs",
        type=Path,
        metavar="DIR",
        help="keep the outputs of every run in DIR, to be judged on another machine",
    )
    parser.add_argument(
        "--load-outputs",
        type=Path,
        metavar="DIR",
        help="run nothing: judge the outputs in DIR, whatever runtime they come from (default:"
        " of every runtime in it)",
    )
    parser.add_argument(
        "--expectations",
        type=Path,
        metavar="FILE",
        help="a TOML file of [[expect]] tables with cell, stage, reason and upstream: cells of"
        " yours that are known to fail, strictly: a pass, or a failure at another stage, fails",
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failing cell")
    options.add_output(parser, verbose="every case")
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_intermixed_args(argv)

    from rich.console import Console

    from harness import reports
    from harness.commands import options
    from harness.core import environment, summary
    from harness.core.escaping import line as escaped
    from harness.core.files import check_folder
    from harness.core.results import CellResult, Report
    from harness.reports import console, json_file, progress, table, versions
    from harness.validation import bisecting, pipeline
    from harness.validation.isolation import workers
    from harness.validation.isolation.deaths import Deaths

    deaths = Deaths(args.artifacts / ".deaths")
    isolation = workers.from_flags(
        args.isolate, args.workers, args.timeout, args.memory_limit, deaths, args.no_limit
    )
    selection = options.selection(
        args,
        require=args.require,
        versions=args.versions,
        every_step=args.every_step,
        decisions=args.decisions,
        relations=args.relation or (),
        limits=isolation.limits,
        save_outputs=args.save_outputs,
        load_outputs=args.load_outputs,
        expectations=args.expectations,
    )
    errors = Console(stderr=True)
    shown = errors if args.json else Console()
    call = shlex.join(["python", "-m", "harness.validate", *argv])
    stopped = False
    check_folder(args.report_dir)
    with progress.shown(errors, enabled=not args.quiet) as tell:
        prepared = pipeline.prepare(selection, tell)
        args.report_dir.mkdir(parents=True, exist_ok=True)
        judged: list[CellResult] = []

        def done(result: CellResult) -> None:
            judged.append(result)
            if not args.quiet:
                console.cell(shown, result, args.verbose)

        def judge(some: pipeline.Prepared) -> Report:
            step = pipeline.counted(some, tell, "validating")
            return pipeline.judge(some, call, done, step, args.fail_fast, isolation)

        try:
            report = bisecting.rounds(prepared, judge, call) if args.bisect else judge(prepared)
        except KeyboardInterrupt:
            stopped = True
            report = Report(call, pipeline.machine(), tuple(judged), partial=True)
    if interrupts.heard():
        stopped, report = True, replace(report, partial=True)
    about = {"date": environment.now(), **({"shard": args.shard} if args.shard else {})}
    report = replace(report, environment={**report.environment, **about})
    failed = reports.write(report, args.report_dir)
    if args.json:
        print(json_file.dumps(report))
    silent = args.quiet or report.partial
    for name, why in ({} if silent else pipeline.without_a_case(prepared, report)).items():
        text = f"relation {name} applies to no selected model and case{f': {why}' if why else ''}"
        shown.print(escaped(text), highlight=False, soft_wrap=True)
    for cell in pipeline.unmatched(prepared):
        print(f"{args.expectations}: {cell} is none of the cells of this run", file=sys.stderr)
    if not args.quiet and len({result.cell.runtime for result in report.results}) > 1:
        table.show(shown, report)
    for text in () if args.quiet else versions.lines(report.results):
        shown.print(escaped(text), highlight=False, soft_wrap=True)
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    path = args.report_dir / json_file.NAME
    shown.print(f"{summary.line(report)}; report: {path}", highlight=False, soft_wrap=True)
    return interrupts.INTERRUPTED if stopped else summary.exit_code(report, bool(failed))


if __name__ == "__main__":
    command(main)
