"""``python -m harness.record``: train reference models and record their goldens."""

from __future__ import annotations

import argparse
import subprocess
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
    parser.add_argument(
        "--golden",
        type=Path,
        default=options.GOLDEN,
        metavar="DIR",
        help="the folder of goldens (default: golden)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument(
        "--reuse-weights",
        action="store_true",
        help="do not train: record the cases anew from the stored weights",
    )
    parser.add_argument(
        "--new-cases",
        action="store_true",
        help="do not train, and run the float32 model only for cases that the golden lacks",
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
    from harness.frameworks import FRAMEWORKS
    from reference_models import catalog

    models = selectors.names("model", args.model or list(catalog.OURS), catalog.MODELS)
    frameworks = selectors.names("framework", args.framework or [selectors.ALL], FRAMEWORKS)
    if args.check or args.reuse_weights or args.new_cases:
        catalog.there(args.golden)
    if args.check:
        return _check(models, frameworks, args.golden)
    if len(frameworks) > 1:
        return _each_in_a_child(models, frameworks, args)
    return _record(models, frameworks[0], args)


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


def _each_in_a_child(models: list[str], frameworks: list[str], args: argparse.Namespace) -> int:
    """One process for each framework: their runtimes do not share one well."""
    from harness.core.errors import CONFORMS

    flags = ["--golden", str(args.golden), "--seed", str(args.seed)]
    given = (args.reuse_weights, "--reuse-weights"), (args.new_cases, "--new-cases")
    flags += [flag for asked, flag in (*given, (args.quiet, "--quiet")) if asked]
    for framework in frameworks:
        call = [sys.executable, "-m", "harness.record", *models, "--framework", framework, *flags]
        if status := subprocess.run(call, check=False).returncode:
            return status
    return CONFORMS


def _record(models: list[str], framework: str, args: argparse.Namespace) -> int:
    from rich.console import Console

    from harness.core.errors import CONFORMS
    from harness.exporters.stock.quiet import silenced
    from harness.frameworks import load
    from harness.recording import reference_model
    from reference_models import catalog

    with silenced():  # TensorFlow's own lines come from C++ as it is imported
        load(framework)
    console = Console(stderr=True)
    known = [spec for spec in map(catalog.load, models) if framework in spec.frameworks]
    specs = sorted(known, key=lambda spec: spec.weights != spec.name)
    for spec in specs:
        started = time.monotonic()
        with console.status(f"{spec.name}/{framework}") as status:
            told = reference_model.record(
                spec,
                framework,
                args.golden,
                args.seed,
                train=not (args.reuse_weights or args.new_cases),
                only_new=args.new_cases,
                progress=(lambda text: None) if args.quiet else status.update,
            )
        print(
            f"recorded {spec.name}/{framework}: score {told['score']:.4f},"
            f" oracle against float64 twin {told['float64']:.1e},"
            f" largest float32 error {told['noise']:.1e}, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return CONFORMS


if __name__ == "__main__":
    command(main)
