"""``python -m harness.operators``: what each runtime makes of the standard's operator cases."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import arguments
from harness.errors import (
    CONFORMS,
    DOES_NOT_CONFORM,
    NothingSelectedError,
    UnavailableError,
    UsageError,
)
from harness.runtimes import RUNTIMES
from harness.schema import framework_of

if TYPE_CHECKING:
    from harness.operator_cases import OperatorCase, Verdict
    from harness.surveying import Survey

SCHEMA = 1
NAME = "operators.json"
DEFAULT = ("ort-cpu", "oracle")


def parser() -> argparse.ArgumentParser:
    parser = arguments.Parser(
        prog="python -m harness.operators",
        description="Run the cases that onnx generates for every operator of the standard in one"
        " or several runtimes, each in a child process, and tell what each gets right.",
        epilog="exit codes: 0 no output was wrong and no case crashed, but for those in --known;"
        " what a runtime refuses is told and is no failure; 1 at least one was, or a case in"
        " --known is neither any more; 2 the call or a file is not usable; 3 none of the runtimes"
        " is available here; 4 no case is selected, or no output was compared",
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
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        default=60,
        metavar="SECONDS",
        help="for a case (default: 60)",
    )
    parser.add_argument("--report-dir", type=Path, metavar="DIR", help=f"write {NAME} there")
    parser.add_argument("--json", action="store_true", help="print the report on standard output")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every case not agreed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)

    from harness import operator_cases, plan
    from harness.surveying import survey

    names = _runtimes(args.runtime or DEFAULT)
    cases = operator_cases.collect()
    known = _known(args.known, names, [case.name for case in cases]) if args.known else set()
    if args.keyword is not None:
        expression = plan.Expression(args.keyword)
        cases = [case for case in cases if expression.matches(case.name)]
    if not cases:
        raise NothingSelectedError(f"-k {args.keyword!r} selects none of onnx's operator cases")
    terminal = sys.stderr.isatty()

    def told(name: str) -> None:
        if terminal:
            print(f"\r\033[K{name}", end="", file=sys.stderr, flush=True)

    found = {name: survey(name, cases, args.timeout, told) for name in names}
    if terminal:
        print("\r\033[K", end="", file=sys.stderr)
    report = _report(found, cases)
    if args.report_dir:
        args.report_dir.mkdir(parents=True, exist_ok=True)
        (args.report_dir / NAME).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1) if args.json else _table(found, cases, args.verbose))
    if all(one.unavailable for one in found.values()):
        told_why = "; ".join(f"{name}: {one.unavailable}" for name, one in found.items())
        raise UnavailableError(f"none of the runtimes is available here: {told_why}")
    bad = {(n, c) for n, one in found.items() for c, v in one.verdicts.items() if _is_bad(v)}
    ran = {(n, c) for n, one in found.items() for c in one.verdicts}
    for name, case in sorted((known & ran) - bad):
        print(f"{name} {case} is known to be wrong, and is not", file=sys.stderr)
    if bad ^ (known & ran):
        return DOES_NOT_CONFORM
    if not any(_is_compared(v) for one in found.values() for v in one.verdicts.values()):
        raise NothingSelectedError("nothing was compared: no case gave outputs")
    return CONFORMS


def _runtimes(texts: Sequence[str]) -> list[str]:
    """The runtimes asked for; UsageError for one that runs no ONNX, which ``all`` passes over."""
    from harness import plan
    from harness.runtimes import load

    names = plan.names("runtime", texts, RUNTIMES)
    twins = [name for name in names if framework_of(load(name))]
    if twins and plan.ALL not in texts:
        raise UsageError(f"--runtime {twins[0]}: a framework runs trained models, no operator case")
    return [name for name in names if name not in twins]


def _is_compared(verdict: Verdict) -> bool:
    from harness.operator_cases import AGREED, WRONG

    return verdict.kind in (AGREED, WRONG)


def _is_bad(verdict: Verdict) -> bool:
    from harness.operator_cases import CRASHED, WRONG

    return verdict.kind in (WRONG, CRASHED)


def _known(path: Path, runtimes: Sequence[str], cases: Sequence[str]) -> set[tuple[str, str]]:
    """The pairs of runtime and case in a file; those of other runtimes are passed over."""
    found = set()
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8: byte {error.start}") from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in RUNTIMES:
            raise UsageError(f"{path}:{number}: {line.strip()!r}; expected RUNTIME CASE")
        if words[1] not in cases:
            near = " or ".join(get_close_matches(words[1], cases))
            hint = f" (did you mean {near}?)" if near else ""
            raise UsageError(f"{path}:{number}: onnx has no case {words[1]!r}{hint}")
        if words[0] in runtimes:
            found.add((words[0], words[1]))
    return found


def _report(found: Mapping[str, Survey], cases: Sequence[OperatorCase]) -> dict[str, Any]:
    import onnx

    runtimes = {
        name: {
            "version": one.version,
            "unavailable": one.unavailable,
            "counts": dict(Counter(v.kind for v in one.verdicts.values())),
            "cases": {c: {"verdict": v.kind, "reason": v.reason} for c, v in one.verdicts.items()},
        }
        for name, one in found.items()
    }
    recurrent = [case.name for case in cases if case.recurrent]
    return {
        "schema": SCHEMA,
        "onnx": onnx.__version__,
        "selected": len(cases),
        "recurrent": recurrent,
        "runtimes": runtimes,
    }


def _table(found: Mapping[str, Survey], cases: Sequence[OperatorCase], verbose: bool) -> str:
    """A row for each runtime, of all cases and of the recurrent ones; then the names."""
    from harness.operator_cases import AGREED, VERDICTS

    recurrent = {case.name for case in cases if case.recurrent}
    lines = [f"{'runtime':<18}{'cases':<11}" + "".join(f"{kind:>14}" for kind in VERDICTS)]
    for name, one in found.items():
        if one.unavailable:
            lines.append(f"{name:<18}unavailable: {one.unavailable}")
            continue
        for label, some in (("all", set(one.verdicts)), ("recurrent", recurrent)):
            counts = Counter(one.verdicts[case].kind for case in some)
            row = "".join(f"{counts[kind]:>14}" for kind in VERDICTS)
            lines.append(f"{name if label == 'all' else '':<18}{label:<11}{row}")
    for name, one in found.items():
        for case, verdict in one.verdicts.items():
            named = verbose or case in recurrent or _is_bad(verdict)
            if named and verdict.kind != AGREED:
                lines.append(f"{name}: {case}: {verdict.kind}: {verdict.reason}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(arguments.ended(main))
