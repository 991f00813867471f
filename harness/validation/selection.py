"""The selection of a call: subjects, cells, cases, and how they are run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.exporters import DEFAULT_OPSET
from harness.processes.limits import Limits
from harness.runtimes.settings import Settings


@dataclass(frozen=True)
class Selection:
    """What to judge; empty selectors mean their defaults.

    ``versions`` are those of runtimes' distributions, as ``--with`` has them.
    ``only`` names the ids of the cells to keep of those selected; None keeps all.
    """

    subjects: Sequence[str] = ()
    frameworks: Sequence[str] = ()
    exporters: Sequence[str] = ()
    variants: Sequence[str] = ()
    runtimes: Sequence[str] = ()
    versions: Sequence[str] = ()
    require: Sequence[str] = ()
    lengths: Sequence[str] = ()
    batch: Sequence[str] = ()
    keyword: str | None = None
    only: Collection[str] | None = None
    shard: str | None = None
    golden: Path | None = None
    artifacts: Path = Path("build/artifacts")
    opset: int = DEFAULT_OPSET
    every_step: bool = False
    decisions: bool = False
    relations: Sequence[str] = ()
    settings: Settings = field(default_factory=Settings)
    limits: Limits = field(default_factory=Limits)
    save_outputs: Path | None = None
    load_outputs: Path | None = None
    expectations: Path | None = None
