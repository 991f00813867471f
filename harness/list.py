"""``python -m harness.list``: what there is, where it is from, and whether it is available here."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.commands.run import CommandParser, command

if TYPE_CHECKING:
    from harness.core.registry import Added


def parser() -> argparse.ArgumentParser:
    return CommandParser(
        "list",
        "List models, exporters, variants, runtimes and reports, and whether each is"
        " available here, and why not. What another installed distribution adds is named with it.",
        examples=("",),
        passes="all is listed",
        fails="",
        nothing="",
    )


def main(argv: Sequence[str]) -> int:
    parser().parse_args(argv)

    from rich.console import Console

    from harness import exporters, reports, runtimes
    from harness.core.escaping import line
    from harness.core.registry import added
    from harness.exporters.variants import VARIANTS
    from reference_models import catalog

    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

    def show(group: str, ours: Mapping[str, str], describe: Callable[[str], str]) -> None:
        """Print the names of a group, ours first, each with its description."""
        console.print(group, style="bold")
        for name in ours:
            console.print(line(f"  {name:<26}{describe(name)}".rstrip()))
        for entry in added(f"harness.{group}", ours):
            text = f"refused: {entry.refused}" if entry.refused else describe(entry.name)
            console.print(line(f"  {entry.name:<26}{text} (from {entry.origin})"))

    show("models", catalog.OURS, _model)
    theirs = {entry.name: entry for entry in added("harness.exporters", exporters.OURS)}
    show("exporters", exporters.OURS, lambda key: _exporter(key, theirs.get(key)))
    show("variants", VARIANTS, lambda name: "")
    show("runtimes", runtimes.OURS, _runtime)
    show("reports", reports.OURS, _report)
    return 0


def _model(name: str) -> str:
    from harness.core.errors import UsageError
    from reference_models import catalog

    try:
        summary: str = catalog.load(name).summary
        return summary
    except UsageError as error:
        return f"unavailable: {error}"


def _exporter(key: str, theirs: Added | None) -> str:
    """Return the versions of the exporter's framework; one of theirs is imported in a child."""
    from harness.core import install
    from harness.core.registry import import_error
    from harness.exporting.key import installed_versions
    from harness.frameworks import FRAMEWORKS
    from harness.processes.limits import Limits
    from harness.processes.worker import LostError, call_in_child

    framework = key.rpartition("/")[2]
    if framework not in FRAMEWORKS:
        return f"unavailable: {framework} is no framework; choose from: {', '.join(FRAMEWORKS)}"
    versions = installed_versions(framework)
    if not versions:
        return f"unavailable: {framework} is not installed: {install.line(framework)}"
    if theirs is not None:
        try:
            reason = call_in_child(Limits(), import_error, theirs.target)
        except LostError as lost:
            reason = f"its process {lost}"
        if reason:
            return f"unavailable: {theirs.target} cannot be imported: {reason}"
    return ", ".join(f"{library} {version}" for library, version in versions.items())


def _runtime(name: str) -> str:
    from harness.runtimes import load

    runtime = load(name)
    reason = runtime.check()
    return f"unavailable: {reason}" if reason else runtime.version()


def _report(name: str) -> str:
    from harness.core.errors import UsageError
    from harness.reports import load

    try:
        load(name)
    except UsageError as error:
        return f"unavailable: {error}"
    return ""


if __name__ == "__main__":
    command(main)
