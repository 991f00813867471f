"""``python -m harness.operators``: what each runtime makes of the standard's operator cases."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.commands.run import CommandParser, command

DEFAULT = ("ort-cpu", "oracle")
SECONDS = 60


def parser() -> argparse.ArgumentParser:
    from harness.commands import options
    from harness.runtimes import RUNTIMES

    parser = CommandParser(
        "operators",
        "Run the cases that onnx generates for every operator of the standard in one"
        " or several runtimes, each in a child process, and tell what each gets right. What"
        " a runtime refuses is told, and is no failure.",
        examples=("-k 'lstm or gru'", "--runtime tract --known known.txt --report-dir reports"),
        passes="no output is wrong and no case crashes, but for those in --known",
        fails="one is or does, or one in --known no longer",
        nothing="no case is selected, or no output was compared",
    )
    parser.add_argument(
        "--runtime",
        action="append",
        metavar="NAME",
        help=f"{', '.join(RUNTIMES)}; comma-separated, repeatable (default: {','.join(DEFAULT)})",
    )
    parser.add_argument(
        "-k", dest="keyword", metavar="EXPRESSION", help="parts of case names, and, or, not, ( )"
    )
    parser.add_argument(
        "--known",
        type=Path,
        metavar="FILE",
        help="lines of RUNTIME CASE, that are known to be wrong or to crash; # begins a comment",
    )
    options.add_timeout(parser, "a case", SECONDS)
    parser.add_argument("--report-dir", type=Path, metavar="DIR", help="write operators.json there")
    options.add_output(parser, verbose="every case that does not agree")
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)

    from harness.core import selectors
    from harness.core.errors import (
        CONFORMS,
        DOES_NOT_CONFORM,
        NothingSelectedError,
        UnavailableError,
    )
    from harness.onnx_operators import cases as operator_cases
    from harness.onnx_operators import report
    from harness.onnx_operators.survey import survey

    names = _runtimes(args.runtime or DEFAULT)
    cases = operator_cases.collect()
    known = report.known(args.known, names, [case.name for case in cases]) if args.known else set()
    if args.keyword is not None:
        expression = selectors.Expression(args.keyword)
        cases = [case for case in cases if expression.matches(case.name)]
    if not cases:
        raise NothingSelectedError(f"-k {args.keyword!r} selects none of onnx's operator cases")
    terminal = sys.stderr.isatty() and not args.quiet

    def show(name: str) -> None:
        if terminal:
            print(f"\r\033[K{name}", end="", file=sys.stderr, flush=True)

    surveys = {name: survey(name, cases, args.timeout or SECONDS, show) for name in names}
    if terminal:
        print("\r\033[K", end="", file=sys.stderr)
    written = report.report(surveys, cases)
    if args.report_dir:
        args.report_dir.mkdir(parents=True, exist_ok=True)
        (args.report_dir / report.NAME).write_text(json.dumps(written, indent=1) + "\n")
    print(
        json.dumps(written, indent=1) if args.json else report.table(surveys, cases, args.verbose)
    )
    if all(one.unavailable for one in surveys.values()):
        reasons = "; ".join(f"{name}: {one.unavailable}" for name, one in surveys.items())
        raise UnavailableError(f"none of the runtimes is available here: {reasons}")
    bad = {
        (n, c) for n, one in surveys.items() for c, v in one.verdicts.items() if report.is_bad(v)
    }
    ran = {(n, c) for n, one in surveys.items() for c in one.verdicts}
    for name, case in sorted((known & ran) - bad):
        print(f"{name} {case} is known to be wrong, and is not", file=sys.stderr)
    if bad ^ (known & ran):
        return DOES_NOT_CONFORM
    if not any(report.is_compared(v) for one in surveys.values() for v in one.verdicts.values()):
        raise NothingSelectedError("nothing was compared: no case gave outputs")
    return CONFORMS


def _runtimes(texts: Sequence[str]) -> list[str]:
    """The runtimes asked for; UsageError for one that runs no ONNX, which ``all`` passes over."""
    from harness.core import selectors
    from harness.core.errors import UsageError
    from harness.runtimes import RUNTIMES, load

    names = selectors.names("runtime", texts, RUNTIMES)
    twins = [name for name in names if load(name).framework]
    if twins and selectors.ALL not in texts:
        raise UsageError(f"--runtime {twins[0]}: a framework runs trained models, no operator case")
    return [name for name in names if name not in twins]


if __name__ == "__main__":
    command(main)
