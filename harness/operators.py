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
        " or several runtimes, each in a child process, and report what each gets right. What"
        " a runtime refuses is reported, and is no failure.",
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
    from harness.core.files import written
    from harness.onnx_operators import cases as operator_cases
    from harness.onnx_operators import report
    from harness.onnx_operators.survey import survey

    names = _runtimes(args.runtime or DEFAULT)
    cases = operator_cases.collect()
    every = [case.name for case in cases]
    known_bad = report.known_bad(args.known, names, every) if args.known else set()
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
    text = json.dumps(report.report(surveys, cases), indent=1)
    if args.report_dir:
        written(args.report_dir / report.NAME, f"{text}\n".encode())
    print(text if args.json else report.table(surveys, cases, args.verbose))
    if all(each.unavailable for each in surveys.values()):
        reasons = "; ".join(f"{name}: {each.unavailable}" for name, each in surveys.items())
        raise UnavailableError(f"none of the runtimes is available here: {reasons}")
    kinds = {(n, c): v.kind for n, each in surveys.items() for c, v in each.verdicts.items()}
    bad = {pair for pair, kind in kinds.items() if kind in report.BAD}
    expected = known_bad & set(kinds)
    for name, case in sorted(expected - bad):
        print(f"{name} {case} is known to be wrong, and is not", file=sys.stderr)
    if bad != expected:
        return DOES_NOT_CONFORM
    if not set(kinds.values()) & {operator_cases.AGREED, operator_cases.WRONG}:
        raise NothingSelectedError("nothing was compared: no case gave outputs")
    return CONFORMS


def _runtimes(texts: Sequence[str]) -> list[str]:
    """Return the runtimes in ``texts``; UsageError for a framework, which ``all`` leaves out."""
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
