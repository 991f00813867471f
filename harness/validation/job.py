"""A cell with all that judging it needs, or why it cannot be judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from harness.accounting.form import Account
from harness.core.errors import StageError
from harness.core.results import CaseResult, Cell
from harness.core.schema import Case, GoldenCase, Runtime, Stage
from harness.core.tolerance import Row
from harness.goldens.store import Golden
from harness.oracle.doubt import Doubt

Complete = Callable[[GoldenCase], GoldenCase]
"""Makes a golden case with every step of one that stores some of them."""


class JudgedRuntime(Runtime, Protocol):
    """A runtime, its row of the tolerance, and the framework that it is, if it is one."""

    @property
    def row(self) -> Row: ...

    @property
    def framework(self) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What every job has: a cell, its golden and its runtime.

    ``replay`` is the command that judges it alone; ``ours`` is set for a reference model, for which
    our expectations hold, and not for a file.
    """

    cell: Cell
    golden: Golden
    runtime: JudgedRuntime
    replay: str = ""
    ours: bool = True


@dataclass(frozen=True, kw_only=True)
class Ready(Planned):
    """A cell that can be judged.

    ``cases`` are run in their order on one session of ``model``, then ``again``. There is no model
    where outputs that were kept elsewhere stand for the runtime. ``complete`` makes a golden case
    with every step of one that holds some. ``relations`` are tried at some of the cases afterwards.
    With ``decisions`` it is counted which of the graph's conditions the cases take both ways.
    ``declared`` is set where the golden's specification is what the model has to declare, and does
    not come from the model; ``evidence`` is reported beside the session's. ``rounded`` are the
    constants of the model that went through float32. ``account`` says where the weights lie in the
    model, where the golden has none to look for.
    """

    cases: Sequence[Case]
    model: Path | None
    again: Sequence[Case] = ()
    example: Mapping[str, int] = field(default_factory=dict)
    complete: Complete | None = None
    relations: Sequence[str] = ()
    decisions: bool = False
    declared: bool = True
    evidence: Mapping[str, Any] = field(default_factory=dict)
    rounded: Sequence[str] = ()
    account: Account | None = None

    @property
    def import_path(self) -> Sequence[str]:
        """What a process needs on its ``sys.path`` before all else to have the runtime."""
        return getattr(self.runtime, "import_path", ())

    @cached_property
    def doubt(self) -> Doubt | None:
        """What a runtime in full precision may be off by for the model's sake; else None."""
        if self.model is None or not self.runtime.row.full_precision:
            return None
        return Doubt(self.model, self.rounded)

    @property
    def path(self) -> Path:
        """The file or folder that the runtime loads: a framework takes the golden's folder.

        Outputs that were kept elsewhere need neither.
        """
        return self.golden.folder if self.runtime.framework else self.model or Path()


@dataclass(frozen=True, kw_only=True)
class Failed(Planned):
    """A cell whose export failed."""

    failure: StageError


@dataclass(frozen=True, kw_only=True)
class Unavailable(Planned):
    """A cell that cannot be judged here, and why."""

    reason: str


Job = Ready | Failed | Unavailable
Event = Stage | Case | CaseResult | str
"""A cell reaches a stage, begins a case, or a relation by its name, or has judged a case."""
Notify = Callable[[Ready, Event], None]


def once_more(cases: Sequence[Case]) -> list[Case]:
    """Return the first of several cases, to be run once more: leaked state shows there."""
    return [replace(case, repeat=True) for case in cases[:1] if len(cases) > 1]
