"""A cell with all that judging it needs, and what is told of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core.errors import StageError
from harness.core.schema import Case, CaseResult, Cell, GoldenCase, Stage
from harness.goldens.store import Golden
from harness.validation.outputs import store

Complete = Callable[[GoldenCase], GoldenCase]
"""Makes a golden case with every step of one that stores some of them."""


@dataclass(frozen=True)
class Work:
    """A cell with all that judging it needs.

    Exactly one of ``model`` (a file to run), ``failure`` (its export failed) and ``unavailable``
    (why it cannot be judged here) is set. ``cases`` are run in their order, then the first again.
    ``expected`` says that expectations may hold for the cell; ``complete`` makes a golden case with
    every step of one that holds some. ``relations`` are tried at some of the cases afterwards.
    ``row`` names a row of the tolerance table other than the runtime's, ``save`` where the outputs
    are to be kept. ``loaded`` holds outputs kept elsewhere, which stand for the runtime; the model
    may be missing then. ``declared`` says that the golden's specification is what the model has to
    declare, not what it was found to; ``evidence`` is told beside the session's.
    """

    cell: Cell
    golden: Golden
    cases: Sequence[Case]
    model: Path | None = None
    failure: StageError | None = None
    unavailable: str | None = None
    example: Mapping[str, int] = field(default_factory=dict)
    replay: str = ""
    expected: bool = True
    complete: Complete | None = None
    relations: Sequence[str] = ()
    row: str = ""
    save: store.Place | None = None
    loaded: store.Saved | None = None
    declared: bool = True
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def again(self) -> list[Case]:
        """The first of several cases, to be run once more; of kept outputs, where they have it."""
        first = [replace(case, repeat=True) for case in self.cases[:1] if len(self.cases) > 1]
        return [case for case in first if self.loaded is None or self.loaded.repeats(case)]

    @property
    def judged_as(self) -> str:
        """The row of the tolerance table."""
        return self.row or self.cell.runtime


Event = Stage | Case | CaseResult | str
"""What is told of a cell: it reaches a stage, begins a case, or a relation by its name, or has
judged a case."""
Tell = Callable[[Work, Event], None]
