"""``python -m harness.lint``: what is wrong in a graph, seen without running it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.run import CommandParser, command

if TYPE_CHECKING:
    from harness.linting.finding import Finding

FORMATS = ("text", "json", "github", "sarif")


def parser() -> argparse.ArgumentParser:
    from harness.commands import options

    parser = CommandParser(
        "lint",
        "Look for what goes wrong with ONNX graphs of sequence models, without running"
        " them: baked lengths and batches, loops, contradictory shapes and more.",
        examples=(
            "model.onnx --example batch=5,sequence=7",
            "model.onnx --against other.onnx",
            "path/to/bundle --ignore unused,wide-dtype --format sarif",
        ),
        passes="no error is found",
        fails="at least one error is found; with --strict, or warning",
        nothing="",
    )
    parser.add_argument("file", nargs="*", help="a .onnx file, or a bundle folder")
    parser.add_argument(
        "--against",
        metavar="OTHER",
        help="the same model exported at another batch and length: what differs is baked",
    )
    parser.add_argument(
        "--example",
        action="append",
        default=[],
        metavar="AXIS=N,…",
        help="the sizes that a .onnx file was exported with; a bundle has its own",
    )
    for flag, about in (("--select", "report these alone"), ("--ignore", "do not report these")):
        parser.add_argument(
            flag,
            action="append",
            metavar="RULE",
            help=f"{about}: rules by name or glob, comma-separated, repeatable",
        )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="how findings are printed: text, json (as --json), annotations of GitHub Actions, or"
        " SARIF 2.1.0 (default: text)",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
    options.add_no_limit(parser)
    options.add_output(parser, quiet=False)
    parser.add_argument("--list", action="store_true", help="list the rules and end")
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)

    from harness.core import selectors
    from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, UsageError
    from harness.linting import formats, linter

    if args.list:
        print("\n".join(f"{name:<21}{sentence}" for name, sentence in linter.rules().items()))
        return CONFORMS
    if not args.file:
        raise UsageError("nothing to lint: expected .onnx files or bundle folders (see --help)")
    if args.against and len(args.file) != 1:
        raise UsageError(f"--against compares one file with another; there are {len(args.file)}")
    if args.json and args.format not in (None, "json"):
        raise UsageError(f"--json and --format {args.format} are two formats; give one of them")
    rules = list(linter.rules())
    chosen = selectors.names("rule", args.select or ["all"], rules)
    ignored = selectors.names("rule", args.ignore or [], rules)
    kept = {*chosen} - {*ignored}
    by_file = {
        file: [finding for finding in findings if finding.rule in kept]
        for file, findings in _limited(
            args.file, args.against, _example(args.example), args.no_limit
        ).items()
    }
    severities = [finding.severity for findings in by_file.values() for finding in findings]
    for text in formats.FORMATS["json" if args.json else args.format or "text"](by_file):
        print(text)
    failed = "error" in severities or (args.strict and bool(severities))
    return DOES_NOT_CONFORM if failed else CONFORMS


def _limited(
    files: Sequence[str], other: str | None, example: Mapping[str, int], unlimited: bool
) -> dict[str, list[Finding]]:
    """Return the findings of every file; UsageError where one takes more than a file may.

    They are found in a child: what infers the shapes of a graph may loop in it for ever.
    """
    from harness.core.errors import UsageError
    from harness.processes.limits import OF_A_FILE, UNLIMITED
    from harness.processes.worker import LostError, call_in_child

    reached = [*files]
    limits = UNLIMITED if unlimited else OF_A_FILE
    try:
        found: dict[str, list[Finding]] = call_in_child(
            limits, _findings, files, other, example, heed=reached.append, forked=True
        )
    except LostError as lost:
        raise UsageError(
            f"{reached[-1]}: the process that reads it {lost}; --no-limit lets it go on"
        ) from None
    return found


def _findings(
    emit: Callable[[str], None],
    files: Sequence[str],
    other: str | None,
    example: Mapping[str, int],
) -> dict[str, list[Finding]]:
    """Return the findings of every file; each is emitted before it is read."""
    from harness.linting import against, linter

    by_file = {}
    for file in files:
        emit(file)
        facts = linter.read(*_place(file, example))
        by_file[file] = linter.run(facts)
    if other is not None:
        emit(other)
        baked = list(against.compare(facts, linter.read(*_place(other, {}))))
        places = {(finding.rule, finding.place) for finding in baked}
        rest = [each for each in by_file[file] if (each.rule, each.place) not in places]
        by_file[file] = linter.ordered([*baked, *rest])
    return by_file


def _place(file: str, example: Mapping[str, int]) -> tuple[Path, Mapping[str, int]]:
    """Return the model file of a subject, and the sizes of its example."""
    from harness.core.errors import UsageError
    from harness.exporting import bundle
    from harness.subjects.resolve import Kind, resolve

    subject = resolve(file, {Kind.ONNX, Kind.BUNDLE})
    if subject.kind is Kind.ONNX:
        return subject.path, example
    stored = bundle.read(subject.path)
    if stored.failure is not None:
        raise UsageError(f"{file} holds no model: its export failed ({stored.failure})")
    return stored.model, example or stored.manifest["example"]


def _example(texts: Sequence[str]) -> dict[str, int]:
    """Return the sizes in ``AXIS=N,…`` by axis."""
    from harness.core.errors import UsageError

    sizes = {}
    for text in (item.strip() for entry in texts for item in entry.split(",")):
        axis, _, size = text.partition("=")
        if not axis or not size.isdecimal() or int(size) < 1:
            raise UsageError(f"--example {text!r}: expected AXIS=N, for example batch=5,sequence=7")
        sizes[axis] = int(size)
    return sizes


if __name__ == "__main__":
    command(main)
