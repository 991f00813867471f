"""``python -m harness.record``: train reference models and record their goldens."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness.commands.run import CommandParser, command


def parser() -> argparse.ArgumentParser:
    from harness.commands import options
    from harness.frameworks import FRAMEWORKS

    parser = CommandParser(
        "record",
        "Train each reference model in its framework, check it against the float64 oracle, and"
        " write golden/MODEL/FRAMEWORK/.",
        examples=("gru_tagger --framework torch", "--check"),
        passes="every golden is recorded; with --check, is what its weights give",
        fails="with --check, a golden is not what its weights give",
        nothing="",
    )
    parser.add_argument("model", nargs="*", help="names or globs (default: every reference model)")
    parser.add_argument(
        "--framework",
        action="append",
        metavar="NAME",
        help=f"{', '.join(FRAMEWORKS)}; comma-separated, repeatable (default: all)",
    )
    options.add_folder(parser, "--golden", options.GOLDEN, "the folder of goldens")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument(
        "--reuse-weights",
        action="store_true",
        help="do not train: record the cases anew from the stored weights",
    )
    parser.add_argument(
        "--new-cases",
        action="store_true",
        help="do not train: add the cases that the golden lacks, and leave all others as they are,"
        " to the bit",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="derive every golden anew from its stored weights, print the largest relative"
        " difference, write nothing",
    )
    options.add_output(parser, json=False)
    return parser


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)

    from harness.core import selectors
    from harness.core.errors import CONFORMS
    from harness.frameworks import FRAMEWORKS
    from reference_models import catalog

    models = selectors.names("model", args.model or list(catalog.OURS), catalog.MODELS)
    frameworks = selectors.names("framework", args.framework or [selectors.ALL], FRAMEWORKS)
    if args.check or args.reuse_weights or args.new_cases:
        catalog.goldens_root(args.golden)
    if args.check:
        return _check(models, frameworks, args.golden)
    for framework in frameworks:
        _record(models, framework, args)
    return CONFORMS


def _check(models: list[str], frameworks: list[str], root: Path) -> int:
    from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, GoldenError, UsageError
    from harness.recording import reference_model
    from reference_models import catalog

    worst, missing = 0.0, []
    for model in models:
        for framework in (f for f in frameworks if f in catalog.load(model).frameworks):
            try:
                difference = reference_model.check(root / model / framework)
            except GoldenError as error:
                missing.append(str(error))
                print(f"error: {error}", file=sys.stderr)
                continue
            worst = max(worst, difference)
            agrees = difference <= reference_model.FLOAT64_AGREEMENT
            print(f"{'ok' if agrees else 'DIFFERS':<8}{model}/{framework}: {difference:.2e}")
    print(
        f"largest relative difference {worst:.2e}, at most {reference_model.FLOAT64_AGREEMENT:.0e}"
    )
    if missing:
        raise UsageError(f"{len(missing)} goldens could not be read")
    return CONFORMS if worst <= reference_model.FLOAT64_AGREEMENT else DOES_NOT_CONFORM


def _record(models: list[str], framework: str, args: argparse.Namespace) -> None:
    """Record in a child process per framework: their runtimes do not share one well."""
    from rich.console import Console

    from harness.recording.in_child import Recording, RecordingChild
    from reference_models import catalog

    console = Console(stderr=True)
    specs = [spec for spec in map(catalog.load, models) if framework in spec.frameworks]
    recorder = RecordingChild()
    train = not (args.reuse_weights or args.new_cases)
    try:
        for spec in sorted(specs, key=lambda spec: spec.weights != spec.name):
            started = time.monotonic()
            recording = Recording(
                spec.name, framework, args.golden, args.seed, train, args.new_cases
            )
            with console.status(f"{spec.name}/{framework}") as status:
                progress = (lambda text: None) if args.quiet else status.update
                figures = recorder.record(recording, progress)
            print(
                f"recorded {spec.name}/{framework}: score {figures['score']:.4f},"
                f" oracle against float64 twin {figures['float64']:.1e},"
                f" largest float32 error {figures['noise']:.1e},"
                f" {time.monotonic() - started:.0f} s",
                flush=True,
            )
    finally:
        recorder.stop()


if __name__ == "__main__":
    command(main)
