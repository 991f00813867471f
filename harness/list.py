"""``python -m harness.list``: what there is, and whether it is available here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from harness import arguments


def parser() -> argparse.ArgumentParser:
    return arguments.Parser(
        prog="python -m harness.list",
        description="List models, exporters, variants and runtimes, and whether each is available"
        " here, and why not.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser().parse_args(argv)

    from rich.console import Console
    from rich.markup import escape

    from harness import bundle
    from harness.exporters import EXPORTERS
    from harness.runtimes import RUNTIMES, load
    from harness.variants import VARIANTS
    from reference_models import catalog

    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]models[/bold]")
    for name in catalog.MODELS:
        console.print(f"  {name:<26}{escape(catalog.load(name).summary)}")
    console.print("[bold]exporters[/bold]")
    for key in EXPORTERS:
        exporter, _, framework = key.rpartition("/")
        found = bundle.versions(framework)
        told = ", ".join(f"{library} {version}" for library, version in found.items())
        missing = (
            f"unavailable: {framework} is not installed:"
            f" pip install 'onnx-sequence-harness[{framework}]'"
        )
        console.print(f"  {exporter:<26}{framework:<8}{escape(told or missing)}")
    console.print("[bold]variants[/bold]")
    for name in VARIANTS:
        console.print(f"  {name}")
    console.print("[bold]runtimes[/bold]")
    for name in RUNTIMES:
        runtime = load(name)
        reason = runtime.check()
        told = f"unavailable: {reason}" if reason else runtime.version()
        console.print(f"  {name:<26}{escape(told)}")
    return 0


if __name__ == "__main__":
    sys.exit(arguments.ended(main))
