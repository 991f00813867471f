"""Counts of comparisons and alarms, and the largest honest errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.core.results import CellResult, OutputComparison, Status
from harness.core.schema import lengths_text
from harness.runtimes import row

BINS = (1, 2, 3, 4, 5, 6, 8)


@dataclass
class Worst:
    """The largest error of many: of its tolerance, in noise floors, and where it was."""

    ratio: float = 0.0
    floors: float = 0.0
    where: str = ""

    def see(self, ratio: float, floors: float, where: str) -> None:
        if not ratio <= self.ratio:
            self.ratio, self.floors, self.where = ratio, floors, where


@dataclass
class Count:
    """Counts of one group of comparisons; ``over`` counts the errors above so many floors."""

    comparisons: int = 0
    alarms: int = 0
    worst: Worst = field(default_factory=Worst)
    over: dict[int, int] = field(default_factory=lambda: dict.fromkeys(BINS, 0))

    def see(self, output: OutputComparison, floors: float, where: str) -> None:
        self.comparisons += 1
        self.alarms += bool(output.reason)
        self.worst.see(output.ratio, floors, where)
        for least in BINS:
            self.over[least] += not floors <= least


@dataclass
class Tally:
    """Counts by variation, by runtime, and by runtime, model and framework.

    ``skipped`` are cells that are expected to fail or cannot be judged here, ``alarms`` every
    reason of a failure. A case or a cell that fails before anything is compared is one alarm.
    """

    variations: dict[str, Count] = field(default_factory=dict)
    runtimes: dict[str, Count] = field(default_factory=dict)
    twins: dict[tuple[str, str, str], Count] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def comparisons(self) -> int:
        return sum(count.comparisons for count in self.variations.values())

    def see(self, variation: str, result: CellResult) -> None:
        """Count one cell's result under ``variation``."""
        cell = result.cell
        if result.status in (Status.XFAIL, Status.UNAVAILABLE):
            self.skipped[f"{variation}: {cell.id}"] = f"{result.status.value}: {result.reason}"
            return
        count = self.variations.setdefault(variation, Count())
        runtime = self.runtimes.setdefault(cell.runtime, Count())
        twin = self.twins.setdefault((cell.runtime, cell.model, cell.framework), Count())
        for where, output in _outputs(result):
            floors = output.ratio * row(cell.runtime).k
            for group in (count, runtime, twin):
                group.see(output, floors, f"{cell.id} {where} ({variation})")
            if output.reason:
                self.alarms.append(f"{variation}: {cell.id} {where}: {output.reason}")
        for reason in _before_comparing(result):
            count.alarms += 1
            self.alarms.append(f"{variation}: {cell.id}: {reason}")

    def as_json(self) -> dict[str, Any]:
        """Return everything, with the margin of each runtime: ``k`` and its worst honest error."""
        margins = {
            name: {"k": row(name).k, "worst_floors": count.worst.floors, **asdict(count)}
            for name, count in self.runtimes.items()
        }
        twins = [
            {"runtime": runtime, "model": model, "framework": framework, **asdict(count)}
            for (runtime, model, framework), count in sorted(self.twins.items())
        ]
        return {
            "comparisons": self.comparisons,
            "alarms": self.alarms,
            "variations": {name: asdict(count) for name, count in self.variations.items()},
            "runtimes": margins,
            "twins": twins,
            "skipped": self.skipped,
        }

    def lines(self) -> Iterator[str]:
        """Yield the table, the margins and the total, for people."""
        yield f"{'variation':<32}{'comparisons':>12}{'alarms':>8}{'ratio':>8}  worst at"
        for name, count in self.variations.items():
            yield _row(name, count)
        yield ""
        yield f"{'runtime':<20}{'k':>5}{'worst honest error in noise floors':>40}"
        for name, count in self.runtimes.items():
            yield f"{name:<20}{row(name).k:>5.1f}{count.worst.floors:>40.2f}  {count.worst.where}"
        yield from (f"not counted: {cell}, {why}" for cell, why in self.skipped.items())
        yield from (f"ALARM {line}" for line in self.alarms)
        yield f"{self.comparisons:,} honest comparisons, {len(self.alarms):,} alarms"


def _row(name: str, count: Count) -> str:
    where = count.worst.where.partition(" (")[0]
    return f"{name:<32}{count.comparisons:>12,}{count.alarms:>8,}{count.worst.ratio:>8.2f}  {where}"


def _outputs(result: CellResult) -> Iterator[tuple[str, OutputComparison]]:
    for case in result.cases:
        about = case.case
        where = f"{lengths_text(about.lengths)} batch={about.batch} {about.raggedness.value}"
        yield from ((f"{where} {output.name}", output) for output in case.outputs)


def _before_comparing(result: CellResult) -> Iterable[str]:
    if not result.cases and result.status is not Status.PASS:
        return [f"{result.stage.value}: {result.reason}"]
    return [
        f"{case.stage.value}: {case.reason}"
        for case in result.cases
        if case.status is not Status.PASS and not case.outputs
    ]
