"""Two bundles: both models run over the cases of the first one's golden, their outputs compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.comparing import outputs
from harness.comparing.change import Change
from harness.core.temporary import temporary_folder
from harness.exporting import bundle
from harness.validation import pipeline
from harness.validation.isolation import workers
from harness.validation.outputs import saved
from harness.validation.outputs.saved import Saved
from harness.validation.selection import Selection


def changes(before: Path, after: Path, runtimes: Sequence[str], max_ulp: int) -> Iterator[Change]:
    """Yield what became of the outputs in each runtime, which may lie ``max_ulp`` apart.

    UsageError where one is no whole bundle; UnavailableError where a runtime is not available.
    """
    files = [bundle.read(folder).model for folder in (before, after)]
    golden = before / bundle.GOLDEN
    with temporary_folder() as scratch:
        first, second = (
            _ran(file, golden, runtimes, scratch / name)
            for name, file in zip(("before", "after"), files, strict=True)
        )
        for change in outputs.changes(first, second, max_ulp):
            yield replace(change, cell=f"{before.name} → {after.name} in {change.cell}")


def _ran(model: Path, golden: Path, runtimes: Sequence[str], kept: Path) -> dict[str, Saved]:
    """Run a model over all cases of a golden; return its outputs, whatever they are, by runtime."""
    isolation = workers.Isolation()
    selection = Selection(
        subjects=[str(model)],
        golden=golden,
        runtimes=runtimes,
        require=runtimes,
        limits=isolation.limits,
        save_outputs=kept,
    )
    prepared = pipeline.prepare(selection, lambda text: None)
    pipeline.judge(prepared, "harness.compare", lambda result: None, lambda job: None)
    return {one.manifest.cell.runtime: one for one in saved.every(kept).values()}
